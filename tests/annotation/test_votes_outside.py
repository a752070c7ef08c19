"""Imports of other projects' files as jobs: answers without votes, answers judged alone, columns that a person names."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent, Membership, Project, Role, User
from accounts.tokens import create_token
from annotation.building import plan
from annotation.models import Annotator, Campaign, ComparisonTask, Judgement, VoteImport
from annotation.pairs import Pairing
from annotation.protocol import Protocol
from annotation.votes.chunks import Chunk
from annotation.votes.files import report_path
from annotation.votes.job import begin_import, map_import, retry_import, run_import, start_import
from annotation.votes.storing import Store
from core.errors import DomainError
from core.ids import new_key
from generation.models import Candidate, GenerationJob, ModelVersion, Prompt
from generation.prompt_importing import run_import as run_prompt_import
from generation.prompt_views import searched
from generation.prompts import start_import as prompt_import
from generation.sampling import with_tags
from tests.annotation.builders import make_project, make_user
from tests.annotation.checks import violations
from tests.annotation.votes import import_votes, jsonl, row, vote
from tests.api.client import Api

pytestmark = pytest.mark.django_db
TABLE = b"Question,First,Second,Best,Rater,When\np1,x1,y1,First,7,2026-01-02\np2,x2,y2,tie,8,2026-01-03\n"
ROLES = {
    "prompt": "Question",
    "answer_a": "First",
    "answer_b": "Second",
    "winner": "Best",
    "annotator": "Rater",
    "time": "When",
}


@pytest.fixture(autouse=True)
def _no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.jobs._send", lambda job: None)


@pytest.fixture
def project() -> Project:
    return make_project()


@pytest.fixture
def ravi(project: Project) -> User:
    return make_user("Ravi", project, Role.RESEARCHER)


@pytest.fixture
def page(client: Client, ravi: User) -> Client:
    client.force_login(ravi)
    return client


def table(tmp_path: Path, content: bytes = TABLE) -> Path:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    return path


# ---- answers that nobody has judged ----------------------------------------------------------------------------------


def test_answers_without_votes_are_candidates_that_a_campaign_can_be_built_from(project: Project) -> None:
    rows = [
        {"prompt": f"p{n}", "completion": f"{model} {n}", "model": model} for n in range(3) for model in ("One", "Two")
    ]
    job = import_votes(project, *rows)
    assert (job.status, job.campaign, job.message) == ("succeeded", None, "6 answers imported.")
    assert not Campaign.objects.exists() and Prompt.objects.count() == 3
    answers = job.job
    assert answers is not None and (answers.kind, answers.status, answers.step) == ("import", "succeeded", 6)
    assert set(ModelVersion.objects.values_list("source", "kind")) == {("One", "outside"), ("Two", "outside")}
    drawn = plan([answers.pk], Pairing(pairs="across"), salt="s")
    assert len(drawn.tasks) == 3 and all(len(task.slots) == 2 for task in drawn.tasks)


def test_answers_side_by_side_are_asked_about_where_the_import_is_open(project: Project) -> None:
    rows = [{"prompt": "p", "answers": [{"model": "One", "text": "x"}, {"model": "Two", "text": "y"}], "votes": []}]
    job = import_votes(project, *rows, choices={"open_for": 2})
    assert job.campaign is not None and job.campaign.stage == "open"
    assert list(job.campaign.tasks.values_list("seats", "n_taken", "status")) == [(2, 0, "open")]


def test_a_row_without_its_answer_is_listed_and_can_be_skipped(project: Project) -> None:
    rows = [{"prompt": "p", "chosen": "x", "rejected": "y"}, {"prompt": "q", "chosen": "x"}]
    job = import_votes(project, *rows, skip_bad_rows=True)
    assert (job.status, job.n_bad) == ("succeeded", 1)
    assert job.bad_rows[0]["line"] == 2 and job.bad_rows[0]["reason"] == "The row has nothing in its column rejected."


def test_what_a_tool_asked_besides_becomes_scores_and_reasons(project: Project) -> None:
    said = [
        {"type": "pairwise", "from_name": "pw", "to_name": "answer2,answer1", "value": {"selected": "left"}},
        {"type": "rating", "from_name": "clear_1", "to_name": "answer1", "value": {"rating": 2}},
        {"type": "rating", "from_name": "clear_2", "to_name": "answer2", "value": {"rating": 5}},
        {"type": "choices", "from_name": "why", "to_name": "prompt", "value": {"choices": ["short"]}},
    ]
    task = {"data": {"prompt": "p", "answer1": "x", "answer2": "y"}, "annotations": [{"id": 5, "result": said}]}
    job = import_votes(project, task)
    assert job.status == "succeeded", (job.error, job.bad_rows)
    judgement = Judgement.objects.get()
    assert judgement.reasons == ["short"]
    assert sorted(judgement.scores.values_list("criterion", "value")) == [("clear", 2), ("clear", 5)]
    assert job.campaign is not None and violations(job.campaign) == []


def test_a_cancelled_import_of_answers_leaves_nothing(project: Project) -> None:
    job = import_votes(project, {"prompt": "p", "completion": "x"}, {"prompt": "p", "completion": 3})
    assert (job.status, job.n_bad) == ("failed", 1)
    assert not (Candidate.objects.exists() or GenerationJob.objects.exists() or ModelVersion.objects.exists())


# ---- answers judged alone --------------------------------------------------------------------------------------------


def test_unpaired_answers_are_judged_alone(project: Project) -> None:
    rows = [{"prompt": "p", "completion": "x", "label": True}, {"prompt": "p", "completion": "y", "label": False}]
    job = import_votes(project, *rows, choices={"open_for": 3})
    assert job.status == "succeeded", job.error
    assert sorted(Judgement.objects.values_list("verdict", flat=True)) == ["all_bad", "both_good"]
    assert list(ComparisonTask.objects.values_list("seats", "status").distinct()) == [(1, "complete")], (
        "nobody is asked"
    )
    assert job.campaign is not None
    assert {each.strip() for each in violations(job.campaign) if "stands" not in each} == set()


def test_a_triple_without_a_person_is_by_one_outside_person(project: Project) -> None:
    rows = [{"prompt": f"p{n}", "chosen": "x", "rejected": "y"} for n in range(4)]
    job = import_votes(project, *rows)
    people = set(Judgement.objects.values_list("assignment__annotator", flat=True))
    assert len(people) == 1 and job.counts["people"] == 1
    assert Judgement.objects.filter(assignment__opened_at=None).count() == 4, "nobody knows what was shown first"
    assert ModelVersion.objects.get().source == "unknown"


def test_equal_answers_are_two_answers(project: Project) -> None:
    job = import_votes(project, {"prompt": "p", "chosen": "x", "rejected": "x"})
    assert job.status == "succeeded" and Candidate.objects.count() == 2


def test_margins_that_need_a_finer_scale_cannot_be_asked_of_people_here(project: Project) -> None:
    row = {"prompt": "p", "chosen": "x", "rejected": "y", "margin": 0.5}
    job = import_votes(project, row, choices={"open_for": 1})
    assert job.status == "failed" and "12 levels" in job.error
    job = import_votes(project, row)
    assert job.campaign is not None and job.campaign.strength_levels == 12
    assert Judgement.objects.get().strength == 6


# ---- columns that a person names -------------------------------------------------------------------------------------


def test_a_table_that_no_format_knows_is_read_as_its_columns_are_named(project: Project, tmp_path: Path) -> None:
    with pytest.raises(DomainError, match="The columns: Question, First, Second, Best, Rater, When"):
        start_import(project=project, upload=table(tmp_path), filename="t.csv", name="T", by=None)
    job = _mapped(project, tmp_path)
    assert (job.status, job.file_format, job.mapping) == ("succeeded", "mapped", ROLES), job.error
    said = dict(Judgement.objects.values_list("assignment__annotator__external_id", "verdict"))
    assert said == {"7": "ranked", "8": "tie"}


def _mapped(project: Project, tmp_path: Path, **mapping: str) -> VoteImport:
    job = start_import(
        project=project, upload=table(tmp_path), filename="t.csv", name="T", mapping={**ROLES, **mapping}, by=None
    )
    run_import(job.pk)
    job.refresh_from_db()
    return job


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({"colour": "Best"}, "no role “colour”"),
        ({"answer_b": ""}, "belong together"),
        ({"chosen": "First", "rejected": "Second"}, "has two roles|Choose answers"),
        ({"annotator": "Nobody"}, "no column “Nobody”"),
        ({"prompt": ""}, "which column holds the prompt"),
        ({"label": "When", "time": ""}, "said of one answer alone"),
    ],
)
def test_a_mapping_that_makes_no_sense_is_refused(
    project: Project, tmp_path: Path, mapping: dict[str, str], said: str
) -> None:
    with pytest.raises(DomainError, match=said):
        _mapped(project, tmp_path, **mapping)
    assert not VoteImport.objects.exists()


def test_a_winner_that_nobody_is_is_a_bad_row(project: Project, tmp_path: Path) -> None:
    job = start_import(
        project=project,
        upload=table(tmp_path, TABLE.replace(b"tie", b"maybe")),
        filename="t.csv",
        name="T",
        mapping=ROLES,
        by=None,
    )
    run_import(job.pk)
    job.refresh_from_db()
    assert job.status == "failed" and job.bad_rows[0]["line"] == 3 and "“maybe”" in job.bad_rows[0]["reason"]


def test_the_page_asks_which_column_is_what(page: Client, project: Project, tmp_path: Path) -> None:
    with table(tmp_path).open("rb") as file:
        sent = page.post(
            reverse("annotation:vote-import-new", args=[project.slug]),
            {"key": new_key(), "name": "T", "file": file, "question": "Which?", "open_for": 0},
        )
    assert sent.status_code == 303
    job = VoteImport.objects.get()
    here, columns = sent.headers["Location"], reverse("annotation:vote-import-map", args=[project.slug, job.key])
    text = page.get(here).content.decode()
    assert "say which column is what" in text and 'id="begin"' not in text and "Question: p1" in text
    assert f'<a href="{reverse("generation:prompt-import", args=[project.slug])}">Import prompts</a>' in text
    begun = page.post(reverse("annotation:vote-import-begin", args=[project.slug, job.key]))
    assert begun.status_code in (409, 422)
    wrong = page.post(columns, {"map-prompt": "Question", "map-answer_a": "First"})
    assert wrong.status_code == 422 and "belong together" in wrong.content.decode()
    mapped = page.post(columns, {f"map-{role}": column for role, column in ROLES.items()})
    assert mapped.headers["Location"] == here
    text = page.get(here).content.decode()
    assert "7: A &gt; B" in text and 'id="begin"' in text and "Columns as you said" in text
    page.post(reverse("annotation:vote-import-begin", args=[project.slug, job.key]))
    run_import(job.pk)
    job.refresh_from_db()
    assert job.status == "succeeded" and job.mapping == ROLES
    assert AuditEvent.objects.filter(action="votes.map_import").exists()
    with pytest.raises(DomainError, match="was begun"):
        map_import(job, ROLES, by=None)


def test_a_draft_that_is_not_mapped_does_not_begin(project: Project, tmp_path: Path) -> None:
    job = start_import(project=project, upload=table(tmp_path), name="T", is_draft=True, by=None)
    with pytest.raises(DomainError, match="not known yet which column"):
        begin_import(job, by=None)


def test_a_script_begins_a_draft_with_the_mapping_that_it_lacks(project: Project, tmp_path: Path) -> None:
    job = start_import(project=project, upload=table(tmp_path), name="T", is_draft=True, by=None)
    api, begin = Api(project, make_user("Ravi", project, Role.ADMIN)), f"vote-imports/{job.key}/begin"
    assert "as mapping" in api.post(begin).json()["how"]
    refused = api.post(begin, {"mapping": ROLES | {"comment": "Nowhere"}})
    assert refused.status_code == 422 and refused.json()["error"] == "The file has no column “Nowhere”."
    assert "There is no such field" in api.post(begin, {"map": ROLES}).json()["error"]
    job.refresh_from_db()
    assert (job.status, job.mapping) == ("draft", {})
    begun = api.post(begin, {"mapping": ROLES}).json()
    assert (begun["status"], begun["mapping"]) == ("queued", ROLES)
    assert api.post(begin, {"mapping": ROLES}).status_code == 200, "sent twice it is done once"
    other = api.post(begin, {"mapping": {"prompt": "Question", "answer": "First"}})
    assert other.status_code == 422 and "was begun" in other.json()["error"]
    run_import(job.pk)
    assert api.get(f"vote-imports/{job.key}").json()["status"] == "succeeded"
    assert AuditEvent.objects.filter(action="votes.map_import").count() == 1


# ---- the full format -------------------------------------------------------------------------------------------------

CAMPAIGNS: list[dict[str, Any]] = [
    {"campaign": {"id": "c1", "name": "Helpful", "kind": "pair", "question": "Better?", "strength_levels": 3, "overlap": 2,
                  "allow_both_bad": True, "guidelines": {"1": "one", "2": "two"}}},
    {"campaign": {"id": "c2", "name": "Harmful", "chosen_is_worse": True}},
]  # fmt: skip
TASK: dict[str, Any] = {
    "campaign": "c1", "prompt": "p", "split": "train", "group": "sha256:" + "ab" * 32, "why": "across", "probability": 0.5,
    "following_turns": ["and then?"],
    "answers": [{"model": "One", "text": "x", "sampling": {"temperature": 0.7}, "seed": 5, "engine": "vllm 1", "latency_seconds": 0.5,
                 "n_prompt_tokens": 3, "n_completion_tokens": 4}, {"model": "One", "text": "y"}],
    "votes": [{"annotator": "human-1", "choice": "a", "order": "ba", "strength": 3, "time": "2026-01-02T03:04:05.000000Z",
               "opened": "2026-01-02T03:04:00.000000Z", "guidelines_version": 2, "unblinded": True, "better_answer": "z",
               "edited_from": "b", "flags": [{"kind": "harmful", "answer": "b", "reason": "r", "status": "upheld"}]},
              {"annotator": "human-1", "choice": "both_bad", "by": "adjudicator"}],
}  # fmt: skip


def test_the_full_format_keeps_what_only_it_can_say(project: Project) -> None:
    job = import_votes(project, *CAMPAIGNS, TASK, {**TASK, "campaign": "c2"})
    assert job.status == "succeeded", (job.error, job.bad_rows)
    first, second = Campaign.objects.order_by("pk")
    assert (first.name, first.overlap, first.strength_levels, first.guidelines_version) == ("Helpful", 2, 3, 2)
    assert list(first.guidelines_versions.values_list("number", "text")) == [(1, "one"), (2, "two")]
    assert (second.name, second.chosen_is_worse, second.n_tasks) == ("Harmful", True, 1)
    task = first.tasks.get()
    assert (task.chosen_why, task.probability, task.seats, task.prompt.group_sha256) == ("across", 0.5, 1, "ab" * 32)
    assert task.prompt.following_turns == ["and then?"]
    answer = Candidate.objects.select_related("arm").get(text="x")
    assert (answer.seed, answer.arm.sampling, answer.arm.engine_version) == (5, {"temperature": 0.7}, "vllm 1")
    assert (answer.n_prompt_tokens, answer.n_completion_tokens, answer.latency_seconds) == (3, 4, 0.5)
    assert Candidate.objects.count() == 2, "both campaigns ask about the same answers"
    turn = task.assignments.get(purpose="work")
    assert (turn.annotator.pseudonym, turn.opened_at.isoformat()) == ("human-1", "2026-01-02T03:04:00+00:00")
    vote = turn.current
    assert (vote.guidelines_version, vote.is_unblinded, vote.edited_from.text, vote.strength) == (2, True, "y", 3)
    review = task.assignments.get(purpose="review")
    assert (review.seat, review.current.source, review.current.verdict) == (None, "adjudicator", "all_bad")
    flag = task.flags.get()
    assert (flag.kind, flag.candidate.text, flag.reason, flag.status) == ("harmful", "y", "r", "upheld")
    assert violations(first) == violations(second) == []


HELP = {"name": "help", "label": "Help"}


def asked(id_: str, **fields: Any) -> dict[str, Any]:
    return {
        "campaign": {
            "id": id_,
            "protocol_version": 2,
            "strength_levels": 2,
            "protocol": {"criteria": [{**HELP, **fields}]},
        }
    }


def judged(campaign: str, **said: Any) -> dict[str, Any]:
    said = {"annotator": "human-1", "choice": "a", "protocol_version": 2, **said}
    return {"campaign": campaign, "prompt": "p", "answers": TASK["answers"], "votes": [said]}


def test_two_campaigns_may_ask_the_same_criterion_in_two_ways(project: Project) -> None:
    rows = [
        asked("c1", kind="rate", levels=5), asked("c2", kind="compare", levels=3),
        judged("c1", scores={"help": [5, 1]}), judged("c2", scores={"help": -3}),
    ]  # fmt: skip
    job = import_votes(project, *rows)
    assert job.status == "succeeded", (job.error, job.bad_rows)
    kinds = [Protocol.parse(each.protocol).criteria[0].kind for each in Campaign.objects.order_by("pk")]
    assert kinds == ["rate", "compare"]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            {"scores": {"help": 1}},
            "The criterion help compares answers here and rates them in its campaign's protocol.",
        ),
        ({"scores": {"help": [6, None]}}, "A score of help is 6; its campaign's protocol goes to 5."),
        ({"scores": {"tone": [1, 2]}}, "The campaign that a line above describes does not ask about tone."),
        ({"strength": 3}, "A strength is 3; its campaign's scale goes to 2."),
        ({"strength": 12}, "A strength is 12; its campaign's scale goes to 2."),
    ],
)
def test_what_a_described_campaign_does_not_ask_is_a_bad_row(
    project: Project, said: dict[str, Any], reason: str
) -> None:
    of_old = judged("c1", **said, protocol_version=1)  # what that version asked, the file does not say
    other = {**judged("c1", **said), "prompt": "q"}
    job = import_votes(project, asked("c1", kind="rate", levels=5), of_old, other, skip_bad_rows=True)
    assert job.status == "succeeded", job.error
    assert [(bad["line"], bad["reason"]) for bad in job.bad_rows] == [(3, reason)]


def test_a_described_scale_may_have_the_twelve_levels_that_margins_need(project: Project) -> None:
    rows = [{"campaign": {"id": "c1", "strength_levels": 12}}, judged("c1", strength=9, protocol_version=1)]
    assert "nobody here can be asked by" in import_votes(project, *rows, choices={"open_for": 1}).error
    job = import_votes(project, *rows)
    assert job.status == "succeeded", (job.error, job.bad_rows)
    assert Judgement.objects.get().strength == 9
    job = import_votes(project, rows[0], judged("c1", strength=13), name="beyond", skip_bad_rows=True)
    assert "from 1 to 12" in job.bad_rows[0]["reason"]


def pseudonyms(*sources: str) -> list[str]:
    rows = Annotator.objects.filter(kind="outside", source__in=sources).order_by("pk")
    return [pseudonym.split("-")[0] + "-" for pseudonym in rows.values_list("pseudonym", flat=True)]


def test_a_described_overlap_may_be_that_of_a_task_with_very_many_votes(project: Project) -> None:
    """An import raises it to the votes of its most judged task, which a file may have on several lines."""
    job = import_votes(project, {"campaign": {"id": "c1", "overlap": 18_000}}, judged("c1", protocol_version=1))
    assert job.status == "succeeded", (job.error, job.bad_rows)
    assert Campaign.objects.get().overlap == 18_000


def test_whom_a_line_of_the_full_format_does_not_name_has_a_pseudonym_of_our_own(project: Project) -> None:
    nameless = {**judged("c1"), "votes": [{"choice": "a"}]}
    assert import_votes(project, asked("c1", kind="rate", levels=5), nameless, source="there").status == "succeeded"
    assert pseudonyms("there") == ["outside-"]


def test_the_name_of_a_person_in_the_plain_form_is_nobodys_pseudonym(project: Project) -> None:
    plain = row(1, votes=[vote("jane@corp.example"), vote("58")])
    assert import_votes(project, plain, source="there").status == "succeeded"
    assert set(Annotator.objects.values_list("external_id", flat=True)) == {"58", "jane@corp.example"}
    assert pseudonyms("there") == ["outside-", "outside-"]


def test_a_pseudonym_that_two_imports_want_at_once_is_that_of_the_first(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Store._kept_names

    def kept(self: Store, chunk: Chunk, names: set[str]) -> set[str]:
        found = real(self, chunk, names)
        Annotator.objects.create(project=project, kind="outside", source="first", external_id="7", pseudonym="human-1")
        return found

    monkeypatch.setattr(Store, "_kept_names", kept)
    job = import_votes(project, *CAMPAIGNS, TASK, source="second")
    assert job.status == "succeeded", job.error
    assert pseudonyms("first", "second") == ["human-", "outside-"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({**TASK, "campaign": "c9"}, "No line above describes the campaign"),
        ({**TASK, "probability": 2}, "probability is not a number"),
        ({**TASK, "votes": [{"choice": "a", "by": "me"}]}, "by is one of"),
        ({**TASK, "votes": [{"choice": "a", "edited_from": "c"}]}, "named by its letter"),
        ({**TASK, "votes": [{"choice": "a", "flags": [{"kind": "rude"}]}]}, "A flag's kind"),
        ({"campaign": {"id": "c1"}}, "described twice"),
        ({"campaign": {"id": "c3", "kind": "song"}}, "kind of a campaign"),
        ({"campaign": {"id": "c3", "protocol": {"colour": 1}}}, "protocol cannot be used"),
        ({"campaign": {"id": "c3", "name": "a" * 101}}, "has 101 characters; at most 100 fit"),
        ({"campaign": {"id": "c3", "name": 3}}, "The name of the campaign is not text"),
        ({"campaign": {"id": "c3", "guidelines": {"²": "x"}}}, "guidelines are an object"),
        ({"campaign": {"id": "c3", "guidelines": {"99999999999": "x"}}}, "from 1 to 1,000,000"),
        ({"campaign": {"id": "c3", "guidelines": {"0": "x"}}}, "guidelines are an object"),
    ],
)
def test_what_the_full_format_cannot_say_is_a_bad_row(project: Project, row: dict[str, Any], said: str) -> None:
    job = import_votes(project, *CAMPAIGNS, TASK, row)
    assert job.status == "failed" and said in job.bad_rows[0]["reason"], job.bad_rows
    assert not Campaign.objects.exists()


def test_the_api_takes_a_mapping(project: Project, ravi: User, client: Client, tmp_path: Path) -> None:
    membership = Membership.objects.get(user=ravi, project=project)
    token = create_token(membership=membership, name="script", scopes=["import"])[1]
    with table(tmp_path).open("rb") as file:
        sent = client.post(
            reverse("annotation-api:vote-imports", args=[project.slug]),
            {"name": "T", "file": file, "mapping": json.dumps(ROLES)},
            headers={"Authorization": f"Bearer {token}"},
        )
    assert sent.status_code == 201, sent.content
    assert VoteImport.objects.get().mapping == ROLES
    for wrong in ("{", "[]", '{"colour": "x"}'):
        with table(tmp_path).open("rb") as file:
            refused = client.post(
                reverse("annotation-api:vote-imports", args=[project.slug]),
                {"name": "U", "file": file, "mapping": wrong},
                headers={"Authorization": f"Bearer {token}"},
            )
        assert refused.status_code in (400, 422), refused.content
    assert sent.json()["mapping"] == ROLES


# ---- secrets -----------------------------------------------------------------------------------------------------------

SECRET = "AKIA" + "Q3EXAMPLE7ABCDEF"


def test_rows_with_secrets_are_quarantined_and_never_repeated(project: Project) -> None:
    # T083
    rows = [
        {"prompt": f"p{n}", "chosen": text, "rejected": "y"}
        for n, text in enumerate(("x", SECRET, "mail a@example.org"))
    ]
    job = import_votes(project, *rows)
    assert job.status == "failed" and job.n_bad == 1
    assert "Quarantined: the row holds what looks like an AWS access key." in job.bad_rows[0]["reason"]
    assert any("secret: 1." in note for note in job.notes) and any("telephone number: 1." in note for note in job.notes)
    assert SECRET not in report_path(job).read_text() and SECRET not in json.dumps(job.bad_rows)
    retry_import(job, skip_bad_rows=True, by=None)
    run_import(job.pk)
    job.refresh_from_db()
    assert (job.status, job.counts["votes"]) == ("succeeded", 2)
    assert not Candidate.objects.filter(text__contains=SECRET).exists()


def test_only_an_admin_lets_secrets_in_and_it_is_logged(project: Project, ravi: User) -> None:
    rows = {"prompt": "p", "chosen": SECRET, "rejected": "y"}
    with pytest.raises(DomainError, match="Only an admin"):
        import_votes(project, rows, by=ravi, choices={"allow_secrets": True})
    olga = make_user("Olga", project, Role.ADMIN)
    job = import_votes(project, rows, by=olga, choices={"allow_secrets": True})
    assert job.status == "succeeded" and Candidate.objects.filter(text=SECRET).exists()
    assert AuditEvent.objects.get(action="votes.import").detail == {"name": "votes", "allow_secrets": True}


def test_words_of_any_letters_are_found_in_what_votes_brought_and_in_what_prompts_brought(project: Project) -> None:
    row = {"prompt": "Où est le café?", "tags": ["Écologie"], "chosen": "x", "rejected": "y"}
    votes = import_votes(project, row)
    assert votes.prompt_set is not None
    upload = jsonl({"prompt": "Et le café?", "tags": ["Écologie"]})
    prompts = prompt_import(project=project, upload=upload, filename="p.jsonl", name="prompts", by=None)
    run_prompt_import(prompts.pk)
    ready = Prompt.objects.filter(set__project=project).ready()
    assert searched(ready, "le café").count() == with_tags(ready, ["Écologie"]).count() == 2
    assert searched(ready, "cafe").count() == with_tags(ready, ["Eco"]).count() == 0
