"""Imports of votes as a job: what they become, all or nothing, unseen before the end, resumed, cancelled, repeated."""

import io
import json
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, models

from accounts.models import AuditEvent, Project, User
from annotation.agreement import of_campaign
from annotation.assign import next_assignment
from annotation.campaigns import progress_of
from annotation.judge import live_judgements
from annotation.models import (
    Annotator,
    Assignment,
    Campaign,
    ComparisonTask,
    Judgement,
    Place,
    RankedCandidate,
    Score,
    TaskCandidate,
    VoteImport,
)
from annotation.rows import said_of
from annotation.tasks import run_vote_import
from annotation.votes import checking, chunks, running, storing
from annotation.votes import job as service
from annotation.votes.files import report_path, stored_path
from annotation.votes.job import (
    begin_import,
    cancel_import,
    import_now,
    map_import,
    retry_import,
    run_import,
    start_import,
)
from annotation.votes.making import Maker
from core.errors import DomainError
from core.jobs import JobStatus, reap
from core.uploads import uploads
from generation.models import Candidate, GenerationJob, JobArm, ModelVersion, Prompt, PromptImport, PromptSet
from tests.annotation.builders import make_annotator, make_project, make_user
from tests.annotation.checks import violations
from tests.annotation.votes import import_votes, jsonl, row, vote

pytestmark = pytest.mark.django_db
Committing = Callable[..., AbstractContextManager[Any]]
BROUGHT: tuple[type[models.Model], ...] = (
    Annotator, Assignment, Campaign, Candidate, ComparisonTask, GenerationJob, JobArm, Judgement, ModelVersion, Place, Prompt,
    PromptImport, PromptSet, RankedCandidate, Score, TaskCandidate,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.jobs._send", lambda job: None)


@pytest.fixture
def committing(django_capture_on_commit_callbacks: Committing) -> Committing:
    """What is to be done on commit is done at the end of the block."""
    return django_capture_on_commit_callbacks


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The imports that were put in the queue."""
    queued: list[int] = []
    monkeypatch.setattr(service, "enqueue_on_commit", lambda job: queued.append(job.pk))
    return queued


@pytest.fixture
def project() -> Project:
    return make_project()


@pytest.fixture
def ravi() -> User:
    return make_user("Ravi")


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_LINES", 3)
    monkeypatch.setattr(checking, "CHUNK_ROWS", 2)


def rows_there() -> dict[str, int]:
    return {model.__name__: n for model in BROUGHT if (n := model._default_manager.count())}


def mixed(n: int) -> list[dict[str, Any]]:
    """Rows that share prompts, answers, tasks and people across chunks."""
    rows = []
    for number in range(n):
        answers = [
            {"model": f"M{number % 3}", "text": f"A{number % 4}"}, {"model": f"N{number % 2}", "text": f"B{number % 5}"}
        ]  # fmt: skip
        votes = [
            vote(f"p{number}", "ab"[number % 2], order=["ab", "ba"][number % 3 == 0]),
            vote(f"q{number % 7}-{number}", "tie"),
        ]
        rows.append(row(number % 6, answers=answers if number % 2 else answers[::-1], votes=votes))
    return rows


# ---- what comes of them ----------------------------------------------------------------------------------------------


def test_votes_become_judgements_of_outside_people_on_outside_models(project: Project) -> None:
    job = import_votes(project, row(1, id="t1", votes=[vote("7", "b", order="ba", vote_id="v9"), vote("8", "tie")]))
    assert job.status == JobStatus.SUCCEEDED, job.error
    campaign = job.campaign
    assert campaign is not None and (campaign.stage, campaign.kind, campaign.n_tasks) == ("closed", "pair", 1)
    assert [(v.slug, v.kind, v.source) for v in ModelVersion.objects.order_by("slug")] == [
        ("one-7b", "outside", "One 7B"), ("two-13b", "outside", "Two (13B)")
    ]  # fmt: skip
    assert not JobArm.objects.exclude(deployment=None, job__kind="import", job__status="succeeded").exists()
    task = campaign.tasks.get()
    assert (task.seats, task.n_taken, task.n_submitted, task.status, task.source_id) == (2, 2, 2, "complete", "t1")
    first = Judgement.objects.get(assignment__annotator__external_id="7")
    assert (first.source, first.verdict, first.source_id, first.by) == ("import", "ranked", "v9", None)
    by_slot = dict(task.slots.values_list("slot", "candidate__arm__model_version__source"))
    assert [by_slot[slot] for slot in first.assignment.display_order] == ["Two (13B)", "One 7B"]
    ranks = dict(first.ranks.values_list("candidate__arm__model_version__source", "rank"))
    assert ranks == {"Two (13B)": 1, "One 7B": 2}
    second = Judgement.objects.get(assignment__annotator__external_id="8")
    assert (second.verdict, set(second.ranks.values_list("rank", flat=True))) == ("tie", {1})
    assert sorted(Assignment.objects.values_list("seat", "status")) == [(0, "submitted"), (1, "submitted")]
    assert Annotator.objects.filter(kind="outside", source="votes", user=None).count() == 2
    assert violations(campaign) == []
    assert (progress_of(campaign).n_done, progress_of(campaign).n_wanted) == (2, 2)


def test_everything_said_is_kept_by_answer_and_not_by_place(project: Project) -> None:
    said = vote("7", "a", strength=3, scores={"helpful": [5, 2], "harmless": -2}, reasons=["clear"], comment="c",
                better_answer="w", seconds=4.5, time="2024-02-03T04:05:06Z")  # fmt: skip
    job = import_votes(project, row(1, votes=[said]), row(2, votes=[{**said, "strength": 1}]))
    assert job.campaign is not None
    assert job.campaign.strength_levels == 3
    criteria = {each["name"]: (each["kind"], each["levels"]) for each in job.campaign.protocol["criteria"]}
    assert criteria == {"helpful": ("rate", 5), "harmless": ("compare", 2)}
    for judgement in Judgement.objects.all():
        assert (judgement.comment, judgement.write_in, judgement.reasons) == ("c", "w", ["clear"])
        assert (judgement.seconds_active, judgement.created_at.isoformat()) == (4.5, "2024-02-03T04:05:06+00:00")
        slot = judgement.assignment.task.slots.get(candidate__arm__model_version__source="One 7B").slot
        told = said_of(judgement)
        assert told.ranks[slot] == 1
        assert set(told.scores) == {
            ("harmless", None, -2 if slot == 0 else 2), ("helpful", slot, 5), ("helpful", 1 - slot, 2)
        }  # fmt: skip


def test_rankings_make_a_campaign_that_ranks(project: Project) -> None:
    answers = [{"model": name, "text": name} for name in "WXYZ"]
    job = import_votes(project, row(1, answers=answers, votes=[{"ranks": [2, 1, 2, 3], "order": "dcba"}]))
    assert job.campaign is not None and job.campaign.kind == "rank"
    ranks = dict(RankedCandidate.objects.values_list("candidate__text", "rank"))
    assert ranks == {"W": 2, "X": 1, "Y": 2, "Z": 3}


def test_tasks_are_told_apart_by_their_candidates_not_their_texts(project: Project) -> None:
    def of(first: str, second: str, **ids: str) -> dict[str, Any]:
        made = [{"model": first, "text": "same"}, {"model": second, "text": ""}]
        return row(
            1,
            answers=[{**answer, **({"id": ids[answer["model"]]} if answer["model"] in ids else {})} for answer in made],
        )

    job = import_votes(
        project, of("A", "B"), of("A", "C"), of("B", "A") | {"votes": [vote("9", "b")]}, of("A", "B", A="second sample")
    )
    # B wrote two answers, and so did A; the third row's are others than the first's.
    assert (job.counts["tasks"], job.counts["prompts"], job.counts["answers"], job.counts["empty"]) == (4, 1, 6, 3)
    indexes = Candidate.objects.filter(arm__model_version__source="A").order_by("index")
    assert list(indexes.values_list("index", flat=True)) == [0, 1, 2]


def test_the_order_of_answers_in_a_row_makes_no_other_task(project: Project) -> None:
    turned = row(1, votes=[vote("8", "a")])
    turned["answers"] = turned["answers"][::-1]
    job = import_votes(project, row(1, votes=[vote("7", "a")]), turned)
    assert (job.counts["tasks"], job.counts["votes"], ComparisonTask.objects.get().seats) == (1, 2, 2)
    best = RankedCandidate.objects.filter(rank=1).order_by("judgement__assignment__annotator__external_id")
    assert list(best.values_list("candidate__arm__model_version__source", flat=True)) == ["One 7B", "Two (13B)"]


def test_an_order_that_is_not_known_says_nothing_of_position(project: Project) -> None:
    rows = [
        row(number, votes=[vote(str(number), "a", **({"order": "ab"} if number < 3 else {}))]) for number in range(8)
    ]
    job = import_votes(project, *rows)
    assert job.campaign is not None and job.counts["with_order"] == 3
    _, first = of_campaign(job.campaign)
    assert (first.n, first.value) == (3, 1.0)


def test_votes_without_a_person_are_different_people_on_the_same_task(project: Project) -> None:
    one = {"choice": "a"}
    job = import_votes(project, row(1, votes=[one, one]), row(1, votes=[one]), row(2, votes=[one]))
    assert (job.counts["votes"], job.counts["people"]) == (4, 3)


def test_one_id_from_one_source_is_one_person_and_a_model_is_one_model(project: Project) -> None:
    import_votes(project, row(1), name="first", source="Crowd")
    import_votes(project, row(2), name="second", source="Crowd")
    import_votes(project, row(3), name="third", source="Elsewhere")
    assert sorted(Annotator.objects.values_list("source", "external_id")) == [("Crowd", "7"), ("Elsewhere", "7")]
    assert ModelVersion.objects.count() == 2


def test_a_model_of_our_own_with_the_same_name_is_another(project: Project) -> None:
    ModelVersion.objects.create(project=project, slug="one-7b", kind="base", source="/models/one")
    import_votes(project, row(1))
    assert sorted(ModelVersion.objects.values_list("slug", "kind")) == [
        ("one-7b", "base"), ("one-7b-2", "outside"), ("two-13b", "outside")
    ]  # fmt: skip


def test_a_campaign_can_be_open_for_more_judging(project: Project) -> None:
    job = import_votes(project, row(1), row(2, votes=[]), choices={"open_for": 2})
    campaign = job.campaign
    assert campaign is not None and campaign.stage == "open"
    assert sorted(campaign.tasks.values_list("seats", "n_taken", "status")) == [(2, 0, "open"), (3, 1, "open")]
    ana = make_annotator(project)
    assert next_assignment(ana, campaign) is not None
    assert violations(campaign) == []
    assert progress_of(campaign).n_wanted == 5


def test_prompts_lie_on_the_side_of_their_group(project: Project) -> None:
    job = import_votes(project, row(1, group="g"), row(2, group="g", split="test"), row(3, split="train"))
    assert sorted(job.prompt_set.prompts.values_list("number", "split")) == [
        (1, "holdout"),
        (2, "holdout"),
        (3, "train"),
    ]  # type: ignore[union-attr]
    refused = import_votes(project, row(3, split="test"), name="other")
    assert refused.status == JobStatus.FAILED and "in train in the prompt set" in refused.bad_rows[0]["reason"]
    held = import_votes(project, row(9), name="held", choices={"is_holdout_only": True})
    assert held.prompt_set is not None and held.prompt_set.prompts.get().split == "holdout"


# ---- all or nothing --------------------------------------------------------------------------------------------------


def test_one_bad_row_means_that_nothing_comes_in_and_says_which(project: Project, ravi: User) -> None:
    job = import_votes(project, row(1), "{broken", row(2, votes=[vote(choice="c")]))
    assert (job.status, job.n_rows, job.n_bad) == (JobStatus.FAILED, 3, 2)
    assert [each["line"] for each in job.bad_rows] == [2, 3]
    assert "2 of 3 rows" in job.error
    assert report_path(job).read_text(encoding="utf-8").count("\n") == 3
    assert rows_there() == {}
    retry_import(job, skip_bad_rows=True, by=ravi)
    run_import(job.pk)
    job.refresh_from_db()
    assert (job.status, job.n_bad, job.counts["votes"]) == (JobStatus.SUCCEEDED, 2, 1)


@pytest.mark.parametrize("text", ["a\\u0000b", "a\\ud800b"])
def test_what_no_database_keeps_is_refused_with_its_line(project: Project, text: str) -> None:
    line = json.dumps(row(2, votes=[vote(comment="COMMENT")])).replace("COMMENT", text)
    job = import_votes(project, row(1), line)
    assert (job.status, [each["line"] for each in job.bad_rows]) == (JobStatus.FAILED, [2])


def test_the_same_vote_again_is_left_out_and_another_one_is_refused(project: Project) -> None:
    job = import_votes(project, row(1), row(2), row(1))
    assert (job.status, job.counts["votes"], job.counts["duplicates"]) == (JobStatus.SUCCEEDED, 2, 1)
    turned = row(1, votes=[vote("7", "b", order="ba")])
    job = import_votes(project, row(1), row(2), turned, name="other")
    assert job.status == JobStatus.FAILED
    assert "“7” has judged the same answers in line 1, and said something else" in job.bad_rows[0]["reason"]


def test_the_same_file_under_the_same_name_is_the_same_import(project: Project) -> None:
    # T079
    first = import_votes(project, *mixed(10))
    before = rows_there()
    assert import_votes(project, *mixed(10)).pk == first.pk
    assert rows_there() == before
    other = start_import(project=project, upload=jsonl(*mixed(10)), name="copy", is_draft=True, by=None)
    assert "imported before, as “votes”" in other.notes[0]
    with pytest.raises(DomainError, match="already"):
        import_votes(project, row(77))


def test_a_draft_gives_way_to_the_same_file_with_other_choices(project: Project, committing: Committing) -> None:
    given: dict[str, Any] = {"project": project, "name": "v", "is_draft": True, "by": None}
    first = start_import(**given, upload=jsonl(row(1)))
    assert start_import(**given, upload=jsonl(row(1))).pk == first.pk
    with committing(execute=True):
        second = start_import(**given, upload=jsonl(row(1)), choices={"open_for": 2})
        assert stored_path(first).exists(), "its file stays until the import that it gives way to is there"
    first.refresh_from_db()
    assert (first.status, second.status, second.choices["open_for"]) == ("cancelled", "draft", 2)
    assert not stored_path(first).exists() and stored_path(second).exists()


def test_a_draft_begins_when_it_is_asked_for_without_a_draft(project: Project, ravi: User, sent: list[int]) -> None:
    given: dict[str, Any] = {"project": project, "name": "v", "by": ravi}
    draft = start_import(**given, upload=jsonl(row(1)), is_draft=True)
    begun = start_import(**given, upload=jsonl(row(1)))
    assert (begun.pk, begun.status, sent) == (draft.pk, "queued", [draft.pk])
    assert [event.after for event in draft.events.all()] == ["draft", "queued"]
    assert AuditEvent.objects.filter(action="votes.import").count() == 1
    for is_draft in (True, False):
        again = start_import(**given, upload=jsonl(row(1)), is_draft=is_draft)
        assert (again.pk, again.status) == (draft.pk, "queued"), "what was begun stays so"
    run_import(draft.pk)
    assert start_import(**given, upload=jsonl(row(1)), is_draft=True).status == "succeeded"
    assert sent == [draft.pk] and len([*uploads().glob(f"{draft.stored_name}*")]) == 1


def test_a_draft_is_begun_by_its_key_only_with_its_own_choices(project: Project, sent: list[int]) -> None:
    given: dict[str, Any] = {"project": project, "name": "v", "by": None, "key": "abc"}
    draft = start_import(**given, upload=jsonl(row(1)), is_draft=True)
    with pytest.raises(DomainError, match="as a draft with other choices"):
        start_import(**given, upload=jsonl(row(1)), choices={"open_for": 2})
    assert VoteImport.objects.get().status == "draft" and stored_path(draft).exists()
    assert start_import(**given, upload=jsonl(row(1))).status == "queued" and sent == [draft.pk]


def test_a_draft_that_appears_meanwhile_begins(
    project: Project, sent: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {"project": project, "name": "v", "by": None}
    real, drafts = service.format_of, list[VoteImport]()

    def overtaken(*args: Any, **options: Any) -> Any:
        if not options["is_draft"]:
            drafts.append(start_import(**given, upload=jsonl(row(1)), is_draft=True))
        return real(*args, **options)

    monkeypatch.setattr(service, "format_of", overtaken)
    before = set(uploads().glob("votes-*"))
    begun = start_import(**given, upload=jsonl(row(1)))
    assert (begun.pk, begun.status, sent) == (drafts[0].pk, "queued", [drafts[0].pk])
    assert len(set(uploads().glob("votes-*")) - before) == 1


def test_a_draft_whose_columns_nobody_knows_cannot_be_begun(project: Project, ravi: User, sent: list[int]) -> None:
    given: dict[str, Any] = {"project": project, "name": "v", "filename": "v.csv", "by": ravi}
    draft = start_import(**given, upload=io.BytesIO(TABLE), is_draft=True)
    with pytest.raises(DomainError, match="not known yet which column is what"):
        start_import(**given, upload=io.BytesIO(TABLE))
    assert VoteImport.objects.get().status == "draft" and stored_path(draft).exists() and sent == []
    map_import(draft, COLUMNS, by=ravi)
    assert start_import(**given, upload=io.BytesIO(TABLE)).pk == draft.pk and sent == [draft.pk]
    run_import(draft.pk)
    draft.refresh_from_db()
    assert (draft.status, draft.counts["votes"]) == ("succeeded", 1)


def test_an_import_at_once_takes_up_a_draft(project: Project, tmp_path: Path, sent: list[int]) -> None:
    path = tmp_path / "v.jsonl"
    path.write_bytes(jsonl(row(1)).read())
    draft = start_import(project=project, upload=path, name="v", is_draft=True, by=None)
    job = import_now(project=project, path=path, name="v", by=None)
    assert (job.pk, job.status, job.counts["votes"], sent) == (draft.pk, "succeeded", 1, [])


TABLE = b"Question,Better,Worse\nWhy?,So.,No.\n"
COLUMNS = {"prompt": "Question", "chosen": "Better", "rejected": "Worse"}


@pytest.mark.parametrize(
    ("refused", "why"),
    [
        ({"mapping": {**COLUMNS, "chosen": "Best"}}, "no column “Best”"),
        ({"mapping": {"prompt": "Question"}}, "Choose answers"),
        ({"choices": {"open_for": 2}}, "No votes in a form that is known"),
    ],
)
@pytest.mark.parametrize("columns", [{}, COLUMNS])
def test_a_request_that_is_refused_leaves_the_draft_as_it_was(
    project: Project, committing: Committing, columns: dict[str, str], refused: dict[str, Any], why: str
) -> None:
    given: dict[str, Any] = {"project": project, "name": "v", "filename": "v.csv", "by": None}
    draft = start_import(**given, upload=io.BytesIO(TABLE), mapping=columns, is_draft=True)
    before = set(uploads().glob("votes-*"))
    with committing(execute=True), pytest.raises(DomainError, match=why):
        start_import(**given, upload=io.BytesIO(TABLE), **refused)
    assert VoteImport.objects.get().status == "draft" and draft.events.count() == 1
    assert stored_path(draft).exists() and set(uploads().glob("votes-*")) == before


def test_an_import_that_cannot_be_recorded_leaves_the_draft_as_it_was(
    project: Project, committing: Committing, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = start_import(project=project, name="v", by=None, upload=jsonl(row(1)), is_draft=True)

    def breaks(job: VoteImport) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(service, "enqueue_on_commit", breaks)
    with committing(execute=True), pytest.raises(ZeroDivisionError):
        start_import(project=project, name="v", by=None, upload=jsonl(row(1)), choices={"open_for": 2})
    assert VoteImport.objects.get().status == "draft" and stored_path(draft).exists()


@pytest.mark.django_db(transaction=True)
def test_the_same_file_sent_several_times_at_once_is_one_import(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, real = threading.Barrier(4), service.format_of
    found: list[Any] = []
    before = set(uploads().glob("votes-*"))

    def together(*given: Any, **options: Any) -> Any:
        here.wait(20)  # all have asked by now whether there is such an import
        return real(*given, **options)

    def send() -> None:
        try:
            found.append(start_import(project=project, upload=jsonl(row(1)), name="v", by=None).pk)
        finally:
            connection.close()

    monkeypatch.setattr(service, "format_of", together)
    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and set(found) == {VoteImport.objects.get().pk}
    assert len(set(uploads().glob("votes-*")) - before) == 1


@pytest.mark.parametrize("name", ["", "\u202egnp.exe", "a" * 101, "bell\a"])
def test_a_name_that_is_none_is_refused(project: Project, name: str) -> None:
    with pytest.raises(DomainError, match="name"):
        import_votes(project, row(1), name=name)
    assert import_votes(project, row(1), name="  two\n lines ").name == "two lines"


RATED, COMPARED = {"helpful": [1, 2]}, {"helpful": 1}
THIRTEEN = {f"c{number}": 1 for number in range(12)}


@pytest.mark.parametrize(
    ("before", "scores", "reason"),
    [
        (RATED, COMPARED, "The criterion helpful compares answers here and rates them in line 1."),
        (COMPARED, RATED, "The criterion helpful rates answers here and compares them in line 1."),
        (THIRTEEN, COMPARED, "With helpful the votes score more than 12 criteria; the rows above have 12."),
    ],
)
def test_scores_that_do_not_go_with_those_above_are_a_bad_row(
    project: Project, before: dict[str, Any], scores: dict[str, Any], reason: str
) -> None:
    rows = [
        row(1, votes=[vote(scores=before)]),
        row(2, votes=[vote(scores=scores)]),
        row(3, votes=[vote(scores=before)]),
    ]
    job = import_votes(project, *rows)
    assert job.status == JobStatus.FAILED and "One row cannot be imported, so nothing was" in job.error
    assert [(bad["line"], bad["reason"]) for bad in job.bad_rows] == [(2, reason)]
    retry_import(job, skip_bad_rows=True, by=None)
    run_import(job.pk)
    job.refresh_from_db()
    assert (job.status, job.n_bad, job.counts["votes"]) == (JobStatus.SUCCEEDED, 1, 2)
    assert {each["name"] for each in job.campaign.protocol["criteria"]} == set(before)


def test_a_bad_row_says_nothing_of_a_criterion(project: Project) -> None:
    twice = row(1, votes=[vote(scores=RATED), vote("8", scores=COMPARED)])
    job = import_votes(project, twice, row(2, votes=[vote(scores=COMPARED)]), skip_bad_rows=True)
    assert job.bad_rows[0]["reason"] == "The criterion helpful compares answers here and rates them here, too."
    assert [each["kind"] for each in job.campaign.protocol["criteria"]] == ["compare"]


# ---- a job -----------------------------------------------------------------------------------------------------------


def test_nobody_sees_anything_before_the_end(
    project: Project, small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ana = make_annotator(project)
    seen: list[tuple[int, int, int, Any]] = []
    real = storing.Store.write

    def spy(store: Any, chunk: Any) -> Any:
        campaign = Campaign.objects.get()
        seen.append(
            (Prompt.objects.count(), Prompt.objects.ready().count(), Campaign.objects.exclude(stage="building").count(),
             next_assignment(ana, campaign))
        )  # fmt: skip
        assert reap() == 0, "nothing of an import is work that was left behind"
        return real(store, chunk)

    monkeypatch.setattr(storing.Store, "write", spy)
    job = import_votes(project, *[row(number) for number in range(8)], choices={"open_for": 1})
    assert seen == [(0, 0, 0, None), (3, 0, 0, None), (6, 0, 0, None)]
    assert Prompt.objects.ready().count() == 8 and job.campaign is not None and job.campaign.stage == "open"
    assert job.prompt_set is not None and job.prompt_set.n_prompts == 8


def test_a_killed_import_goes_on_where_it_was(
    project: Project, small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # T080
    whole = import_votes(make_project(), *mixed(30))
    expected = rows_there()
    job = start_import(project=project, upload=jsonl(*mixed(30)), filename="v.jsonl", name="votes", by=None)
    real, calls = storing.Store.write, []

    class Killed(BaseException):
        pass

    def dies(store: Any, chunk: Any) -> Any:
        calls.append(1)
        counts = real(store, chunk)
        if len(calls) in (4, 7):
            raise Killed  # within the chunk's transaction, which is rolled back
        return counts

    monkeypatch.setattr(storing.Store, "write", dies)
    for _ in range(2):
        with pytest.raises(Killed):
            run_import(job.pk)
        VoteImport.objects.filter(pk=job.pk).update(leased_until="2020-01-01T00:00Z")
        reap()
    assert 0 < Judgement.objects.filter(assignment__task__campaign__project=project).count() < whole.counts["votes"]
    run_import(job.pk)
    job.refresh_from_db()
    assert (job.status, job.counts) == (JobStatus.SUCCEEDED, whole.counts)
    assert rows_there() == {name: 2 * n for name, n in expected.items()}
    assert len(calls) == 10 + 2
    assert job.campaign is not None and violations(job.campaign) == []
    assert sorted(job.prompt_set.prompts.values_list("number", flat=True)) == list(range(1, 7))  # type: ignore[union-attr]


def test_a_worker_that_lost_its_lease_writes_nothing_more(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    job = start_import(project=project, upload=jsonl(*mixed(9)), filename="v.jsonl", name="votes", by=None)
    real = running._Worker._store

    def taken_over(worker: Any) -> None:
        VoteImport.objects.filter(pk=job.pk).update(lease_token="somebody else")
        real(worker)

    monkeypatch.setattr(running._Worker, "_store", taken_over)
    run_import(job.pk)
    job.refresh_from_db()
    assert (job.status, Judgement.objects.count()) == (JobStatus.RUNNING, 0)


def test_the_database_is_told_twice_that_its_tables_are_not_empty_any_more(
    project: Project, small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, bool, bool]] = []
    monkeypatch.setattr(storing, "TOLD_FIRST", 2)
    monkeypatch.setattr(storing, "TOLD_AFTER", 5)
    monkeypatch.setattr(storing, "analyze", lambda n, *models: told.append((n, Assignment in models, Prompt in models)))
    import_votes(project, *mixed(20))
    assert told == [(3, True, True), (6, False, True)]  # for people beside it, then for its own look-ups


def test_only_prompts_that_were_here_may_be_stored() -> None:
    one, other, alike = "a" * 64, "b" * 64, "a" * 6 + "0" * 58
    stored = storing.Stored(is_known=True)
    assert stored.maybe({one}) == [] and stored.maybe({other}) == []
    assert stored.maybe({one}) == [one] and stored.maybe({alike}) == [alike]
    assert storing.Stored(is_known=False).maybe({one}) == [one]


def test_rows_that_cannot_be_made_leave_nothing_behind(
    project: Project, small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = start_import(project=project, upload=jsonl(*mixed(12)), filename="v.jsonl", name="votes", by=None)
    real, made = Maker.make, []

    def breaks(maker: Maker, chunk: Any) -> None:
        made.append(chunk)
        if len(made) == 3:
            raise ZeroDivisionError
        real(maker, chunk)

    monkeypatch.setattr(Maker, "make", breaks)
    run_import(job.pk)
    job.refresh_from_db()
    assert (job.status, len(made), rows_there()) == (JobStatus.FAILED, 3, {})
    assert job.error == "The import stopped on something unexpected: ZeroDivisionError. The log has the details."
    assert job.message == "Nothing was imported."
    assert not [each for each in threading.enumerate() if each.name.startswith(("making", "ahead"))]


def test_cancelling_takes_everything_back(
    project: Project, ravi: User, small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = import_votes(project, *mixed(4), name="before")
    before = rows_there()
    job = start_import(project=project, upload=jsonl(*mixed(30)), filename="v.jsonl", name="votes", by=None)
    real = storing.Store.write

    def cancels(store: Any, chunk: Any) -> Any:
        if Judgement.objects.filter(assignment__task__campaign__name="votes").count() > 20:
            cancel_import(VoteImport.objects.get(pk=job.pk), by=ravi)
        return real(store, chunk)

    monkeypatch.setattr(storing.Store, "write", cancels)
    run_import(job.pk)
    job.refresh_from_db()
    assert (job.status, job.message) == (JobStatus.CANCELLED, "Cancelled: nothing was imported.")
    assert rows_there() == before
    monkeypatch.setattr(storing.Store, "write", real)
    retry_import(job, by=ravi)
    run_import(job.pk)
    job.refresh_from_db()
    assert job.status == JobStatus.SUCCEEDED and there.campaign is not None
    assert live_judgements().filter(assignment__task__campaign=job.campaign).count() == 60


def test_ctrl_c_at_a_shell_takes_everything_back(
    project: Project, small_chunks: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "v.jsonl"
    path.write_bytes(jsonl(*mixed(9)).read())

    def stops(job: VoteImport) -> None:
        if job.message.startswith("Storing: 6"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_now(project=project, path=path, name="votes", progress=stops)
    assert (VoteImport.objects.get().status, rows_there()) == (JobStatus.CANCELLED, {})
    assert import_now(project=project, path=path, name="votes").counts["votes"] == 18


def test_a_draft_waits_for_a_person_and_can_be_given_up(project: Project, ravi: User, committing: Committing) -> None:
    job = start_import(project=project, upload=jsonl(row(1)), name="votes", is_draft=True, by=ravi)
    run_import(job.pk)
    assert reap() == 0 and rows_there() == {}
    begin_import(job, by=ravi)
    begin_import(job, by=ravi)
    assert run_vote_import.name == VoteImport.job_task
    run_vote_import.run(job.pk)
    job.refresh_from_db()
    assert job.status == JobStatus.SUCCEEDED
    other = start_import(project=project, upload=jsonl(row(2)), name="other", is_draft=True, by=ravi)
    with committing(execute=True):
        cancel_import(other, by=ravi)
    assert other.status == JobStatus.CANCELLED and not stored_path(other).exists()


def test_nothing_is_left_in_the_uploads_but_the_report(project: Project) -> None:
    job = import_votes(project, row(1))
    assert [path.name for path in uploads().glob(f"{job.stored_name}*")] == [report_path(job).name]


def test_what_killed_processes_left_behind_is_swept_away(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    job = start_import(project=project, upload=jsonl(row(1)), name="votes", is_draft=True, by=None)
    (uploads() / "votes-nobodysfile.checked").write_text("x")
    assert service.sweep_uploads() == 0  # all of it is fresh
    monkeypatch.setattr(service, "KEPT_DRAFT_SECONDS", -1)
    assert service.sweep_uploads() >= 2
    job.refresh_from_db()
    assert job.status == JobStatus.CANCELLED and not (uploads() / "votes-nobodysfile.checked").exists()


@pytest.mark.parametrize("filename", ["../../etc/x.jsonl", "a" * 9000 + ".jsonl", "..\\x.jsonl", "a\x00.jsonl"])
def test_an_upload_is_stored_under_a_name_of_our_own(project: Project, filename: str) -> None:
    # T073
    job = start_import(project=project, upload=jsonl(row(1)), filename=filename, name="votes", by=None)
    assert job.stored_name.startswith("votes-") and "/" not in job.filename and len(job.filename) <= 200


def test_an_import_at_once_tells_how_far_it_is_and_what_was_wrong(project: Project, tmp_path: Path) -> None:
    path = tmp_path / "v.jsonl"
    path.write_bytes(jsonl(*mixed(20)).read())
    told: list[tuple[int, str]] = []
    job = import_now(
        project=project, path=path, name="votes", progress=lambda each: told.append((each.step, each.message))
    )
    assert job.counts["votes"] == 40 and told[-1][0] == 20
    path.write_bytes(jsonl(row(1), row(2, prompt="")).read())
    with pytest.raises(DomainError, match=r"Line 2: The prompt is empty\."):
        import_now(project=project, path=path, name="other")


def test_who_brought_the_file_has_seen_the_models(project: Project, ravi: User) -> None:
    job = import_votes(project, row(1), by=ravi)
    assert job.job is not None and list(job.job.reveals.values_list("user", flat=True)) == [ravi.pk]
