"""The commands for files on the server: prompts in, a dataset frozen and written for others. They leave nothing half done."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models import Count

from annotation.models import Campaign
from core.jobs import JobStatus
from generation.models import Prompt, PromptImport, PromptSet
from tests.annotation.builders import make_project
from tests.training.judged import make_judged
from training.models import ExportJob, Snapshot


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def said(*arguments: str, **options: Any) -> str:
    out = io.StringIO()
    call_command(*arguments, stdout=out, **{"stderr": io.StringIO(), **options})
    return out.getvalue()


@pytest.mark.django_db
def test_prompts_come_in_from_a_file(tmp_path: Path) -> None:
    project = make_project()
    file = tmp_path / "uses.jsonl"
    file.write_text('{"prompt": "Why?"}\n{"prompt": "How?"}\n{"prompt": "Why?"}\n')
    told = said("import_prompts", str(file), "--project", project.slug, "--licence", "CC0")
    made = PromptSet.objects.get()
    assert (made.name, made.licence, made.n_prompts) == ("uses", "CC0", 2)
    assert told == f"2 prompts in the set uses ({made.key}); 1 was there already.\n"
    file.write_text('{"prompt": "When?"}\n')
    said("import_prompts", str(file), "--project", project.slug, "--into", made.key)
    assert Prompt.objects.filter(set=made).count() == 3


@pytest.mark.django_db
def test_a_bad_row_leaves_nothing(tmp_path: Path) -> None:
    project, errors = make_project(), io.StringIO()
    file = tmp_path / "uses.jsonl"
    file.write_text('{"prompt": "Why?"}\n{"prompt": ""}\n')
    with pytest.raises(CommandError):
        said("import_prompts", str(file), "--project", project.slug, stderr=errors)
    assert "Line 2:" in errors.getvalue()
    assert not PromptSet.objects.exists() and not PromptImport.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_bar_follows_on_a_terminal(tmp_path: Path) -> None:
    project, terminal = make_project(), Terminal()
    file = tmp_path / "uses.txt"
    file.write_text("\n".join(f"Question {n}?" for n in range(1200)))
    said("import_prompts", str(file), "--project", project.slug, stderr=terminal)
    assert "1200/1200" in terminal.getvalue()


@pytest.mark.django_db
@pytest.mark.parametrize("wrong", ["--project nosuch", "--by nobody", "--into nosuch"])
def test_what_there_is_not_is_told(tmp_path: Path, wrong: str) -> None:
    file = tmp_path / "uses.txt"
    file.write_text("Why?")
    arguments = {"--project": make_project().slug, **dict([wrong.split()])}
    with pytest.raises(CommandError, match="There is no"):
        said("import_prompts", str(file), *(part for pair in arguments.items() for part in pair))
    assert not PromptSet.objects.exists()


@pytest.mark.django_db
def test_a_dataset_is_frozen(tmp_path: Path) -> None:
    project = make_project()
    campaign = make_judged(project)
    told = said("freeze", "first", "--project", project.slug, "--campaign", campaign.key)
    snapshot = Snapshot.objects.get()
    assert snapshot.status == JobStatus.SUCCEEDED and snapshot.sha256 in told
    assert (Path(told.splitlines()[1]) / "train.jsonl").is_file()
    with pytest.raises(CommandError, match="already"):
        said("freeze", "first", "--project", project.slug)
    with pytest.raises(CommandError, match="no campaign 'nosuch'"):
        said("freeze", "second", "--project", project.slug, "--campaign", "nosuch")
    with pytest.raises(CommandError, match="by majority"):
        said("freeze", "third", "--project", project.slug, "--pair-policy", '{"aggregation": "best"}')
    with pytest.raises(CommandError, match="not JSON"):
        said("freeze", "third", "--project", project.slug, "--selection", "{")


@pytest.mark.django_db
def test_a_campaign_is_named_where_no_other_has_its_name() -> None:
    project = make_project()
    first, second = make_judged(project), make_judged(project)
    for name, campaign in (("Uses", first), ("More uses", second)):
        Campaign.objects.filter(pk=campaign.pk).update(name=name)
    common = ("--project", project.slug, "--campaign")
    said("freeze", "of one", *common, "Uses")
    said("freeze", "of both", *common, "Uses", "--campaign", second.key)
    said("freeze", "of one, twice named", *common, "Uses", "--campaign", first.key)
    counted = dict(Snapshot.objects.annotate(n=Count("campaigns")).values_list("name", "n"))
    assert counted == {"of one": 1, "of both": 2, "of one, twice named": 1}
    Campaign.objects.filter(pk=second.pk).update(name="Uses")
    with pytest.raises(CommandError, match=f"2 campaigns are named 'Uses': give the key of one .*{first.key}"):
        said("freeze", "of which", *common, "Uses")


@pytest.mark.django_db
def test_a_dataset_is_written_for_others(tmp_path: Path) -> None:
    project = make_project()
    said("freeze", "first", "--project", project.slug, "--campaign", make_judged(project).key)
    common = ("--project", project.slug)
    told = said("export", "first", str(tmp_path), *common)
    file = tmp_path / "first-trl-preference-train.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert {"prompt", "chosen", "rejected"} <= set(rows[0])
    assert told.startswith(f"{file}: {len(rows)} rows, sha256 ")
    said("export", Snapshot.objects.get().key, str(tmp_path / "again.jsonl"), *common)
    assert (tmp_path / "again.jsonl").read_bytes() == file.read_bytes() and ExportJob.objects.count() == 1
    for arguments, words in (
        (("nosuch", str(tmp_path)), "no dataset 'nosuch'"),
        (("first", str(tmp_path), "--container", "xlsx"), "not written as xlsx"),
        (("first", str(tmp_path / "none" / "x.jsonl")), "could not be written"),
    ):
        with pytest.raises(CommandError, match=words):
            said("export", *arguments, *common)
