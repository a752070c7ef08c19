"""Imports as a job: all or nothing, splits, duplicates, resuming, cancelling."""

import io
import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError, connection

from accounts.models import AuditEvent, Project, Role, User
from core import way
from core.errors import Conflict, DomainError
from core.ids import split_for
from core.jobs import JobStatus, claim, reap
from generation import prompt_importing as importing
from generation import prompts as service
from generation.models import Prompt, PromptImport, PromptSet
from generation.prompt_importing import import_now, run_import
from generation.prompts import cancel_import, delete_set, report_path, retry_import, start_import
from tests.annotation.builders import make_user

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.jobs._send", lambda job: None)


@pytest.fixture
def project() -> Project:
    return Project.objects.create(slug="loop", name="Loop")


@pytest.fixture
def ravi() -> User:
    return User.objects.create_user("ravi")


def jsonl(*rows: Any) -> io.BytesIO:
    return io.BytesIO("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows).encode())


def import_rows(
    project: Project, *rows: Any, name: str = "set", by: User | None = None, **options: Any
) -> PromptImport:
    job = start_import(project=project, upload=jsonl(*rows), filename="p.jsonl", name=name, by=by, **options)
    run_import(job.pk)
    job.refresh_from_db()
    return job


def numbered(n: int) -> list[dict[str, str]]:
    return [{"prompt": f"What is {number} plus one?"} for number in range(n)]


def test_every_good_row_becomes_a_prompt_in_order(project: Project) -> None:
    job = import_rows(project, *numbered(5))
    assert (job.status, job.n_added, job.set.prompts.count()) == (JobStatus.SUCCEEDED, 5, 5)
    assert [p.last_turn for p in job.set.prompts.order_by("number")] == [row["prompt"] for row in numbered(5)]
    assert PromptSet.objects.get(pk=job.set_id).n_prompts == 5


def test_one_bad_row_means_nothing_is_imported_and_says_which(project: Project) -> None:
    job = import_rows(project, *numbered(3), {"prompt": ""}, "{broken")
    assert job.status == JobStatus.FAILED
    assert Prompt.objects.count() == 0
    assert [(row["line"], row["reason"]) for row in job.bad_rows] == [
        (4, "The prompt is empty."),
        (5, job.bad_rows[1]["reason"]),
    ]
    assert "2 of 5 rows" in job.error
    assert report_path(job).read_text(encoding="utf-8").count("\n") == 3


def test_bad_rows_can_be_skipped_afterwards_without_a_second_upload(project: Project, ravi: User) -> None:
    job = import_rows(project, *numbered(3), {"prompt": ""})
    retry_import(job, skip_bad_rows=True, by=ravi)
    run_import(job.pk)
    job.refresh_from_db()
    assert (job.status, job.n_added, job.n_bad) == (JobStatus.SUCCEEDED, 3, 1)


def test_exact_duplicates_are_counted_within_the_file_and_the_set(project: Project) -> None:
    first = import_rows(project, *numbered(3), *numbered(2))
    assert (first.n_added, first.n_duplicates) == (3, 2)
    second = start_import(
        project=project, upload=jsonl(*numbered(4)), filename="p.jsonl", prompt_set=first.set, by=None
    )
    run_import(second.pk)
    second.refresh_from_db()
    assert (second.n_added, second.n_duplicates) == (1, 3)
    assert PromptSet.objects.get(pk=first.set_id).n_prompts == 4


def test_the_same_file_again_adds_nothing(project: Project) -> None:
    # T079
    first = import_rows(project, *numbered(10))
    second = start_import(
        project=project, upload=jsonl(*numbered(10)), filename="p.jsonl", prompt_set=first.set, by=None
    )
    run_import(second.pk)
    second.refresh_from_db()
    assert (second.status, second.n_added, second.n_duplicates) == (JobStatus.SUCCEEDED, 0, 10)


def test_the_same_form_sent_twice_is_one_import(project: Project) -> None:
    jobs = [
        start_import(
            project=project, upload=jsonl(*numbered(2)), filename="p.jsonl", name="set", by=None, key="abcdefghjkmn"
        )
        for _ in range(2)
    ]
    assert jobs[0].pk == jobs[1].pk
    assert PromptImport.objects.count() == 1
    with pytest.raises(DomainError, match="sent before"):
        start_import(
            project=project, upload=jsonl(*numbered(3)), filename="p.jsonl", name="set", by=None, key="abcdefghjkmn"
        )


def test_a_form_sent_twice_at_once_is_one_import(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    real, twins = service._recognise, []

    def send() -> PromptImport:
        return start_import(
            project=project, upload=jsonl(*numbered(2)), filename="p.jsonl", name="set", by=None, key="abcdefghjkmn"
        )

    def slow(*args: Any, **options: Any) -> Any:
        if not twins:  # its twin overtakes it
            twins.append(None)
            twins.append(send())
        return real(*args, **options)

    monkeypatch.setattr(service, "_recognise", slow)
    assert send() == twins[1] == PromptImport.objects.get()


def test_the_split_comes_from_the_hash_of_the_group(project: Project) -> None:
    job = import_rows(project, *numbered(200))
    for prompt in job.set.prompts.all():
        assert prompt.split == split_for(prompt.group_sha256)
    assert 0 < job.set.prompts.filter(split="holdout").count() < 80


def test_rows_of_one_group_lie_on_one_side(project: Project) -> None:
    rows = [{"prompt": f"Question {n}", "group": f"g{n % 7}"} for n in range(70)]
    job = import_rows(project, *rows)
    sides: dict[str, set[str]] = {}
    for prompt in job.set.prompts.all():
        sides.setdefault(prompt.group_sha256, set()).add(prompt.split)
    assert len(sides) == 7
    assert all(len(side) == 1 for side in sides.values())


def test_a_split_given_by_the_source_is_respected_by_the_whole_group(project: Project) -> None:
    job = import_rows(
        project,
        {"prompt": "first", "group": "g"},
        {"prompt": "second", "group": "g", "split": "test"},
        {"prompt": "third", "group": "h", "split": "train"},
    )
    assert list(job.set.prompts.order_by("number").values_list("split", flat=True)) == ["holdout", "holdout", "train"]


def test_a_group_in_both_splits_is_a_bad_row(project: Project) -> None:
    job = import_rows(
        project, {"prompt": "a", "group": "g", "split": "train"}, {"prompt": "b", "group": "g", "split": "test"}
    )
    assert job.status == JobStatus.FAILED
    assert job.bad_rows[0]["line"] == 2
    assert "in train in line 1" in job.bad_rows[0]["reason"]


def test_a_prompt_cannot_be_in_train_in_one_set_and_holdout_in_another(project: Project) -> None:
    import_rows(project, {"prompt": "Who?", "split": "train"}, name="first")
    job = import_rows(project, {"prompt": " who? ", "split": "test"}, name="second")
    assert job.status == JobStatus.FAILED
    assert "“first”" in job.bad_rows[0]["reason"]
    assert import_rows(project, {"prompt": "who?  "}, name="third").set.prompts.get().split == "train"


def test_a_set_can_be_for_holdout_only(project: Project) -> None:
    job = import_rows(project, *numbered(20), is_holdout_only=True)
    assert set(job.set.prompts.values_list("split", flat=True)) == {"holdout"}
    refused = import_rows(project, {"prompt": "x", "split": "train"}, name="other", is_holdout_only=True)
    assert "for holdout only" in refused.bad_rows[0]["reason"]


def test_nothing_is_visible_before_the_end(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "CHUNK_ROWS", 4)
    seen: list[tuple[int, int]] = []
    real = importing._Worker._without_duplicates

    def spy(worker: Any, placed: Any) -> Any:
        seen.append((Prompt.objects.count(), Prompt.objects.ready().count()))
        return real(worker, placed)

    monkeypatch.setattr(importing._Worker, "_without_duplicates", spy)
    job = import_rows(project, *numbered(12))
    assert seen == [(0, 0), (4, 0), (8, 0)]
    assert Prompt.objects.ready().count() == job.n_added == 12


def test_a_killed_import_goes_on_without_doubles(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    # T080
    monkeypatch.setattr(importing, "CHUNK_ROWS", 4)
    job = start_import(project=project, upload=jsonl(*numbered(30)), filename="p.jsonl", name="set", by=None)
    real, calls = importing._Worker._without_duplicates, []

    class Killed(BaseException):
        pass

    def dies(worker: Any, placed: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise Killed
        return real(worker, placed)

    monkeypatch.setattr(importing._Worker, "_without_duplicates", dies)
    with pytest.raises(Killed):
        run_import(job.pk)
    assert Prompt.objects.count() == 12
    assert Prompt.objects.ready().count() == 0
    PromptImport.objects.filter(pk=job.pk).update(leased_until="2020-01-01T00:00Z")
    reap()
    run_import(job.pk)
    job.refresh_from_db()
    assert (job.status, job.n_added, job.n_duplicates, Prompt.objects.count()) == (JobStatus.SUCCEEDED, 30, 0, 30)
    assert sorted(Prompt.objects.values_list("number", flat=True)) == list(range(1, 31))


@pytest.mark.parametrize("problem", [OperationalError("gone away"), InterfaceError("connection already closed")])
def test_an_import_whose_database_is_away_for_a_moment_goes_on_where_it_was(
    project: Project, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    monkeypatch.setattr(importing, "CHUNK_ROWS", 4)
    job = start_import(project=project, upload=jsonl(*numbered(30)), filename="p.jsonl", name="set", by=None)
    real = importing._Worker._without_duplicates

    def away(worker: Any, placed: Any) -> Any:
        if Prompt.objects.count() == 8:
            raise problem
        return real(worker, placed)

    with monkeypatch.context() as patched:
        patched.setattr(importing._Worker, "_without_duplicates", away)
        run_import(job.pk)
    job.refresh_from_db()
    assert (job.status, job.step, Prompt.objects.count()) == (JobStatus.QUEUED, 8, 8)
    assert "the import goes on in a moment" in job.message
    first = set(Prompt.objects.values_list("key", flat=True))
    run_import(job.pk)
    job.refresh_from_db()
    assert (job.status, job.n_added, Prompt.objects.count()) == (JobStatus.SUCCEEDED, 30, 30)
    assert first < set(Prompt.objects.values_list("key", flat=True))


def test_a_worker_that_lost_its_lease_writes_nothing_more(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "CHUNK_ROWS", 4)
    job = start_import(project=project, upload=jsonl(*numbered(12)), filename="p.jsonl", name="set", by=None)
    real = importing._Worker._store

    def taken_over(worker: Any, *args: Any) -> None:
        PromptImport.objects.filter(pk=job.pk).update(lease_token="somebody else")
        real(worker, *args)

    monkeypatch.setattr(importing._Worker, "_store", taken_over)
    run_import(job.pk)
    job.refresh_from_db()
    assert (job.status, Prompt.objects.count()) == (JobStatus.RUNNING, 0)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_alone", [True, False])
def test_little_is_stored_at_a_time_with_pauses_while_others_write_to_the_same_file(
    project: Project, monkeypatch: pytest.MonkeyPatch, is_alone: bool
) -> None:
    slept, written = list[float](), list[int]()
    monkeypatch.setattr(way, "POLITE_SECONDS", 1000.0)
    monkeypatch.setattr(way, "time", SimpleNamespace(monotonic=time.monotonic, sleep=slept.append))
    monkeypatch.setattr(importing, "CHUNK_ROWS", 4)
    monkeypatch.setattr(importing, "POLITE_ROWS", 1)
    real = importing._Worker._without_duplicates

    def elsewhere() -> None:
        try:
            make_user("Ben")
        finally:
            connection.close()

    def spy(worker: Any, placed: Any) -> Any:
        written.append(len(placed))
        if not is_alone and len(written) == 1:
            other = threading.Thread(target=elsewhere)
            other.start()
            other.join()
        return real(worker, placed)

    monkeypatch.setattr(importing._Worker, "_without_duplicates", spy)
    job = import_rows(project, *numbered(10))
    assert job.n_added == 10
    if is_alone or connection.vendor == "postgresql":  # where nobody waits for a lock
        assert (written, slept) == ([4, 4, 2], [])
    else:
        assert (written, len(slept)) == ([4, *[1] * 6], 7)


def test_cancelling_takes_back_what_was_stored(project: Project, ravi: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "CHUNK_ROWS", 4)
    job = start_import(project=project, upload=jsonl(*numbered(30)), filename="p.jsonl", name="set", by=None)
    real = importing._Worker._without_duplicates

    def cancels(worker: Any, placed: Any) -> Any:
        if Prompt.objects.count() == 8:
            cancel_import(PromptImport.objects.get(pk=job.pk), by=ravi)
        return real(worker, placed)

    monkeypatch.setattr(importing._Worker, "_without_duplicates", cancels)
    run_import(job.pk)
    job.refresh_from_db()
    assert (job.status, Prompt.objects.count(), job.n_added) == (JobStatus.CANCELLED, 0, 0)
    retry_import(job, by=ravi)
    monkeypatch.setattr(importing._Worker, "_without_duplicates", real)
    run_import(job.pk)
    job.refresh_from_db()
    assert (job.status, Prompt.objects.count()) == (JobStatus.SUCCEEDED, 30)


def test_two_imports_into_one_set_do_not_run_together(project: Project) -> None:
    first = start_import(project=project, upload=jsonl(*numbered(2)), filename="p.jsonl", name="set", by=None)
    with pytest.raises(Conflict):
        start_import(project=project, upload=jsonl(*numbered(3)), filename="p.jsonl", prompt_set=first.set, by=None)
    assert claim(first)


def test_a_taken_name_is_refused_and_leaves_no_file(project: Project) -> None:
    import_rows(project, *numbered(1))
    before = set(service.stored_path(PromptImport.objects.get()).parent.iterdir())
    with pytest.raises(DomainError, match="already"):
        start_import(project=project, upload=jsonl(*numbered(1)), filename="p.jsonl", name="set", by=None)
    assert set(service.stored_path(PromptImport.objects.get()).parent.iterdir()) == before


@pytest.mark.parametrize(
    "filename", ["../../etc/x.jsonl", "a" * 9000 + ".jsonl", "..\\x.jsonl", "con.jsonl", "a\x00.jsonl"]
)
def test_an_upload_is_stored_under_a_name_of_our_own(project: Project, filename: str) -> None:
    # T073
    job = start_import(project=project, upload=jsonl(*numbered(1)), filename=filename, name="set", by=None)
    assert job.stored_name.startswith("prompts-")
    assert "/" not in job.filename and "\x00" not in job.filename and len(job.filename) <= 200
    assert service.stored_path(job).is_file()


def test_a_set_that_nothing_uses_can_be_deleted(project: Project, ravi: User) -> None:
    job = import_rows(project, *numbered(3))
    delete_set(job.set, by=ravi)
    assert not PromptSet.objects.exists() and not Prompt.objects.exists()
    assert not report_path(job).exists()


def test_a_set_with_answers_cannot_be_deleted(project: Project, ravi: User) -> None:
    job = import_rows(project, *numbered(3))
    project.generation_jobs.create(prompt_set=job.set)
    with pytest.raises(DomainError, match="cannot be deleted"):
        delete_set(job.set, by=ravi)
    assert Prompt.objects.count() == 3


def test_an_import_at_once_says_what_was_wrong_and_leaves_no_set(project: Project, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "ok"}\n{"prompt": " "}\n')
    with pytest.raises(DomainError, match=r"Line 2: The prompt is empty\."):
        import_now(project=project, name="set", path=path)
    assert not PromptSet.objects.exists()


def test_a_file_in_the_form_of_mt_bench_comes_in_with_its_second_turns(project: Project, tmp_path: Path) -> None:
    path = tmp_path / "question.jsonl"
    rows = [
        {"question_id": 81, "category": "writing", "turns": ["Write a letter to a friend.", "Now make it rhyme."]},
        {"question_id": 111, "category": "math", "turns": ["What is 12 times 12?", "And half of that?"],
         "reference": ["144", "72"]},
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    prompt_set = import_now(project=project, name="MT-Bench", path=path, is_holdout_only=True)
    assert prompt_set.n_prompts == 2
    assert [prompt.following_turns for prompt in prompt_set.prompts.order_by("number")] == [
        ["Now make it rhyme."], ["And half of that?"]
    ]  # fmt: skip
    assert prompt_set.prompts.get(number=1).tags == ["writing"]
    assert set(prompt_set.prompts.values_list("split", flat=True)) == {"holdout"}


def test_what_killed_processes_left_behind_is_swept_away(project: Project) -> None:
    job = start_import(project=project, upload=jsonl(*numbered(1)), filename="p.jsonl", name="set", by=None)
    uploads = service.stored_path(job).parent
    (uploads / "prompts-nobodysfile").write_text("x")
    (uploads / "prompts-nobodysfile.report.csv.part").write_text("x")
    (uploads / "groups-abc").mkdir()
    (uploads / "other-thing").write_text("x")
    assert service.sweep_uploads() == 0  # all of it is fresh
    assert service.sweep_uploads(older_than_seconds=-1) >= 3
    assert service.stored_path(job).exists()
    assert (uploads / "other-thing").exists()
    assert not list(uploads.glob("*nobodysfile*")) and not list(uploads.glob("groups-*"))


# ---- secrets -----------------------------------------------------------------------------------------------------------

SECRET = "AKIA" + "Q3EXAMPLE7ABCDEF"


@pytest.mark.parametrize("where", ["prompt", "reference", "note", "tags", "elsewhere"])
def test_prompts_with_secrets_are_quarantined_and_never_repeated(project: Project, ravi: User, where: str) -> None:
    # T083
    row: dict[str, Any] = {"prompt": "Which?", where: [SECRET] if where == "tags" else f"It is {SECRET}."}
    job = import_rows(project, *numbered(3), row, {"prompt": "Write to ana@example.org"})
    assert (job.status, job.n_bad) == (JobStatus.FAILED, 1)
    assert "Quarantined: the row holds what looks like an AWS access key." in job.bad_rows[0]["reason"]
    assert any("secret: 1." in note for note in job.notes) and any("telephone number: 1." in note for note in job.notes)
    assert SECRET not in report_path(job).read_text() and SECRET not in json.dumps(job.bad_rows)
    retry_import(job, skip_bad_rows=True, by=ravi)
    run_import(job.pk)
    job.refresh_from_db()
    assert (job.status, job.n_added) == (JobStatus.SUCCEEDED, 4)
    assert not [prompt for prompt in Prompt.objects.values() if SECRET in str(prompt)]


def test_only_an_admin_lets_prompts_with_secrets_in_and_it_is_logged(project: Project, ravi: User) -> None:
    with pytest.raises(DomainError, match="Only an admin"):
        import_rows(project, {"prompt": SECRET}, by=ravi, allow_secrets=True)
    mia = make_user("Mia", project, Role.ADMIN)
    job = import_rows(project, {"prompt": SECRET}, by=mia, allow_secrets=True)
    assert job.status == JobStatus.SUCCEEDED and Prompt.objects.get().last_turn == SECRET
    assert AuditEvent.objects.get(action="prompts.import").detail == {"set": job.set.key, "allow_secrets": True}
