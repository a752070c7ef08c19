"""Real people's votes, through the real importer: every figure against a count of the raw files that shares no code with it."""

import csv
import json
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from accounts.models import Project, Role
from annotation.agreement import of_campaign
from annotation.judge import live_judgements
from annotation.models import Annotator, Assignment, Campaign, ComparisonTask, Judgement, RankedCandidate, VoteImport
from annotation.standings import standings_of
from generation.models import Candidate, ModelVersion, Prompt
from scripts.llmfao import lines_of
from tests.annotation.builders import make_project, make_user
from tests.annotation.votes import import_votes
from training.previewing import preview
from training.selecting import Reading, read_members, read_selection

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


class Raw:
    """The three files as they are."""

    def __init__(self, folder: Path) -> None:
        self.pairs = {row["id"]: row for row in map(json.loads, (folder / "pairs-crowd.jsonl").open())}
        self.names = {row["id"]: row["name"] for row in map(json.loads, (folder / "models.jsonl").open())}
        self.votes = list(csv.DictReader((folder / "crowd-comparisons.csv").open(newline="")))

    def by_pair(self) -> dict[int, list[str]]:
        said = defaultdict(list)
        for vote in self.votes:
            said[int(vote["id"])].append(vote["winner"])
        return said


@pytest.fixture
def raw(llmfao: Path) -> Raw:
    return Raw(llmfao)


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setattr("core.jobs._send", lambda job: None)
    return make_project()


@pytest.fixture
def file(llmfao: Path, tmp_path: Path) -> Path:
    path = tmp_path / "llmfao.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines_of(llmfao)))
    return path


@pytest.fixture
def imported(project: Project, file: Path) -> VoteImport:
    return import_votes(project, file, name="LLMFAO", by=make_user("Ravi", project, Role.RESEARCHER))


def test_the_votes_come_in_whole(raw: Raw, project: Project, imported: VoteImport, file: Path) -> None:
    campaign = imported.campaign
    assert campaign is not None and (imported.status, imported.n_bad) == ("succeeded", 0)
    live = live_judgements().filter(assignment__task__campaign=campaign)

    # Counts.
    assert live.count() == len(raw.votes) == 8931
    assert campaign.n_tasks == ComparisonTask.objects.filter(campaign=campaign).count() == len(raw.pairs) == 2139
    used = {raw.names[pair[side]] for pair in raw.pairs.values() for side in ("model_x", "model_y")}
    assert set(ModelVersion.objects.filter(project=project, kind="outside").values_list("source", flat=True)) == used
    assert len(used) == 59
    people = Annotator.objects.filter(project=project)
    assert set(people.values_list("external_id", flat=True)) == {vote["worker"] for vote in raw.votes}
    assert not people.exclude(kind="outside", user=None).exists()
    assert live.filter(verdict="tie").count() == sum(vote["winner"] == "tie" for vote in raw.votes) == 3471
    texts = {
        (pair["prompt"], pair[f"model_{side}"]): pair[f"result_{side}"] for pair in raw.pairs.values() for side in "xy"
    }
    assert Candidate.objects.filter(arm__job=imported.job).count() == len(texts)
    assert Prompt.objects.filter(set=imported.prompt_set).count() == len({pair["text"] for pair in raw.pairs.values()})

    # Empty answers are kept, and equal texts do not make equal tasks.
    tasks = ComparisonTask.objects.filter(campaign=campaign)
    blank = {task for task, text in tasks.values_list("pk", "slots__candidate__text") if not text.strip()}
    assert len(blank) == sum(
        not pair["result_x"].strip() or not pair["result_y"].strip() for pair in raw.pairs.values()
    )
    assert len(blank) == 289
    read: dict[int, list[str]] = defaultdict(list)
    for task, text in tasks.values_list("pk", "slots__candidate__text"):
        read[task].append(text)
    prompt_of = dict(tasks.values_list("pk", "prompt_id"))
    assert len({(prompt_of[task], *sorted(both)) for task, both in read.items()}) == 1906

    # Every vote is what its author said, of the right answers, and its seat is its own.
    assert sorted(tasks.values_list("seats", flat=True)) == sorted(len(said) for said in raw.by_pair().values())
    assert set(tasks.values_list("status", flat=True)) == {"complete"} and campaign.stage == "closed"
    assert _said(campaign) == Counter(
        (
            vote["worker"],
            raw.pairs[int(vote["id"])]["text"],
            vote["left"],
            vote["right"],
            vote[vote["winner"]] if vote["winner"] != "tie" else "tie",
        )
        for vote in raw.votes
    )

    # The same file again is the same import.
    again = import_votes(project, file, name="LLMFAO")
    assert again.pk == imported.pk and Judgement.objects.count() == 8931


def _said(campaign: Campaign) -> Counter[Any]:
    """(worker, prompt, model shown left, model shown right, model preferred or tie) of every judgement."""
    name_of = dict(Candidate.objects.values_list("pk", "arm__model_version__source"))
    slots: dict[int, dict[int, int]] = defaultdict(dict)
    for task, slot, candidate in campaign.tasks.values_list("pk", "slots__slot", "slots__candidate"):
        slots[task][slot] = candidate
    best: dict[int, list[int]] = defaultdict(list)
    for judgement, candidate in RankedCandidate.objects.filter(rank=1).values_list("judgement", "candidate"):
        best[judgement].append(candidate)
    rows = Assignment.objects.filter(task__campaign=campaign).values_list(
        "current", "annotator__external_id", "task", "task__prompt__messages", "display_order"
    )
    return Counter(
        (
            worker,
            messages[-1]["content"],
            name_of[slots[task][order[0]]],
            name_of[slots[task][order[1]]],
            name_of[best[judgement][0]] if len(best[judgement]) == 1 else "tie",
        )
        for judgement, worker, task, messages, order in rows
    )


def test_agreement_position_and_win_rates_match_a_count_of_the_raw_files(raw: Raw, imported: VoteImport) -> None:
    assert imported.campaign is not None
    agreement, first = of_campaign(imported.campaign)
    pairs = [pair for said in raw.by_pair().values() for pair in combinations(said, 2)]
    assert agreement.n_pairs == len(pairs)
    assert agreement.value == pytest.approx(sum(a == b for a, b in pairs) / len(pairs), abs=1e-12)
    clear = [vote["winner"] for vote in raw.votes if vote["winner"] != "tie"]
    assert first.n == len(clear) and first.value == pytest.approx(clear.count("left") / len(clear), abs=1e-12)

    score: dict[str, list[float]] = defaultdict(lambda: [0, 0, 0])
    for vote in raw.votes:
        for side, other in (("left", "right"), ("right", "left")):
            outcome = {side: 0, "tie": 1, other: 2}[vote["winner"]]
            score[vote[side]][outcome] += 1
    found = {row.model.source: [row.n_wins, row.n_ties, row.n_losses] for row in standings_of(imported.campaign)}
    assert found == score
    for row in standings_of(imported.campaign):
        assert row.rate.value == pytest.approx((row.n_wins + row.n_ties / 2) / row.n)
        assert (row.rate.low or 0) <= (row.rate.value or 0) <= (row.rate.high or 0)


def test_a_dataset_of_them_has_the_right_rows(raw: Raw, project: Project, imported: VoteImport) -> None:
    assert imported.campaign is not None
    reading = Reading()
    members = list(read_members(project, [imported.campaign], read_selection({}), reading))
    assert len(members) == reading.n_members == 8931 and len(reading.annotators) == 124 and not reading.left_out
    seen = preview(project=project, campaigns=[imported.campaign], pair_policy={"aggregation": "votes"})
    dropped = {reason: n for reason, n, *_ in seen.dropped}
    # Row by row: a vote for one of two answers is a row, unless both read the same.
    equal = sum(
        raw.pairs[int(vote["id"])]["result_x"].strip() == raw.pairs[int(vote["id"])]["result_y"].strip()
        for vote in raw.votes
        if vote["winner"] != "tie"
    )
    assert dropped["ties"] == 3471
    assert (seen.n_rows, dropped.get("equal_texts", 0)) == (8931 - 3471 - equal, equal)
    assert (seen.n_people, seen.n_judgements, seen.n_imported) == (124, 8931, 8931)


def test_the_script_says_who_won_whichever_side_it_stood_on(llmfao: Path) -> None:
    lines: list[Any] = list(lines_of(llmfao))
    raw = Raw(llmfao)
    assert len(lines) == 2139 and sum(len(line["votes"]) for line in lines) == 8931
    for line in lines:
        pair = raw.pairs[line["id"]]
        assert [answer["model"] for answer in line["answers"]] == [
            raw.names[pair["model_x"]],
            raw.names[pair["model_y"]],
        ]
