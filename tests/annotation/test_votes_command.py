"""``manage.py import_votes``: the same import, from the shell."""

import io
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from accounts.models import Role
from annotation.models import VoteImport
from annotation.votes.job import start_import
from tests.annotation.builders import make_project, make_user
from tests.annotation.votes import jsonl, row

pytestmark = pytest.mark.django_db


def test_a_file_is_imported_from_the_shell(tmp_path: Path) -> None:
    project = make_project()
    ravi = make_user("Ravi", project, Role.RESEARCHER)
    file, said = tmp_path / "arena.jsonl", tmp_path / "said.md"
    file.write_bytes(jsonl("{").read())
    with pytest.raises(CommandError, match=r"The first row cannot be read\. Line 1: The line is not JSON"):
        call_command("import_votes", str(file), "--project", project.slug)
    file.write_bytes(jsonl(row(1), row(2), "{").read())
    said.write_text("Prefer the shorter one.")
    given = ["import_votes", str(file), "--project", project.slug, "--guidelines", str(said), "--by", ravi.username]
    with pytest.raises(CommandError, match=r"Line 3: The line is not JSON.* All of them: (.*)\.$") as refused:
        call_command(*given)
    report = Path(str(refused.value).rpartition("All of them: ")[2].removesuffix("."))
    assert "3,The line is not JSON" in report.read_text()
    out = io.StringIO()
    call_command(*given, "--skip-bad-rows", "--open-for", "1", "--source", "Crowd", stdout=out)
    job = VoteImport.objects.get(status="succeeded")
    assert job.campaign is not None and (job.name, job.source, job.campaign.stage) == ("arena", "Crowd", "open")
    assert (job.campaign.guidelines, job.requested_by) == ("Prefer the shorter one.", ravi)
    assert "2 votes on 2 tasks imported." in out.getvalue() and "1 row could not be used" in out.getvalue()


def test_a_file_that_waits_as_a_draft_is_imported_from_the_shell(tmp_path: Path) -> None:
    project, file, out = make_project(), tmp_path / "arena.jsonl", io.StringIO()
    file.write_bytes(jsonl(row(1)).read())
    choices = {"licence": "MIT"}
    draft = start_import(project=project, upload=file, name="arena", choices=choices, is_draft=True, by=None)
    call_command("import_votes", str(file), "--project", project.slug, "--licence", "MIT", stdout=out)
    assert "1 vote on 1 task imported." in out.getvalue()
    assert VoteImport.objects.get().pk == draft.pk


@pytest.mark.parametrize("given", [["--project", "nowhere"], ["--by", "nobody"]])
def test_what_is_not_there_is_said(tmp_path: Path, given: list[str]) -> None:
    file = tmp_path / "v.jsonl"
    file.write_bytes(jsonl(row(1)).read())
    with pytest.raises(CommandError, match="There is no"):
        call_command("import_votes", str(file), "--project", make_project().slug, *given)
    with pytest.raises(CommandError, match="There is no file"):
        call_command("import_votes", str(tmp_path / "none"), "--project", make_project().slug)
