"""Real people's votes out again in every format: rows, ties and agreement against a count of the raw files that shares no code with it."""

import csv
import json
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from accounts.models import Project
from annotation.models import Campaign
from generation.models import Prompt
from scripts.llmfao import lines_of
from tests.annotation.builders import make_project
from tests.annotation.votes import import_votes
from training.exports.formats import FORMATS
from training.exports.options import Options
from training.exports.writing import write_export
from training.freezing import run_freeze, start_freeze
from training.models import Snapshot
from training.snapshots import directory_of

pytestmark = [pytest.mark.django_db, pytest.mark.slow, pytest.mark.timeout(1800)]
SPLITS = ("train", "test")
SIDES = ("left", "right")
PAIRS = (
    "trl-preference", "trl-preference-text", "trl-implicit", "hh", "trl-reward", "trl-reward-text", "openai-preference",
    "ultrafeedback",
)  # fmt: skip


class Raw:
    """The three files as they are: each vote with the texts that were shown."""

    def __init__(self, folder: Path) -> None:
        pairs = {row["id"]: row for row in map(json.loads, (folder / "pairs-crowd.jsonl").open())}
        names = {row["id"]: row["name"] for row in map(json.loads, (folder / "models.jsonl").open())}
        self.votes: list[dict[str, Any]] = []
        for vote in csv.DictReader((folder / "crowd-comparisons.csv").open(newline="")):
            pair = pairs[int(vote["id"])]
            texts = {names[pair[f"model_{side}"]]: pair[f"result_{side}"] for side in "xy"}
            shown = {side: texts[vote[side]] for side in SIDES}
            self.votes.append({**vote, "pair": pair["id"], "prompt": pair["text"], "texts": shown})
        self.clear = [vote for vote in self.votes if vote["winner"] != "tie"]
        self.rows = [vote for vote in self.clear if len({text.strip() for text in vote["texts"].values()}) == 2]

    def agreement(self) -> float:
        return agreed(self._by_pair(vote["winner"] for vote in self.votes))

    def _by_pair(self, said: Iterator[str]) -> list[list[str]]:
        found: dict[int, list[str]] = defaultdict(list)
        for vote, what in zip(self.votes, said, strict=True):
            found[vote["pair"]].append("tie" if what == "tie" else vote[what])
        return list(found.values())

    def best(self) -> set[tuple[str, str]]:
        """(prompt, answer) of every answer that won and lost to none."""
        won, lost = set(), set()
        for vote in self.rows:
            loser = "left" if vote["winner"] == "right" else "right"
            won.add((vote["prompt"], vote["texts"][vote["winner"]]))
            lost.add((vote["prompt"], vote["texts"][loser]))
        return won - lost


def agreed(tasks: list[list[Any]]) -> float:
    """The share of pairs of votes on one task that say the same."""
    pairs = [pair for said in tasks for pair in combinations(said, 2)]
    return sum(a == b for a, b in pairs) / len(pairs)


@pytest.fixture
def raw(llmfao: Path) -> Raw:
    return Raw(llmfao)


@pytest.fixture
def snapshot(llmfao: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Snapshot:
    monkeypatch.setattr("core.jobs._send", lambda job: None)
    path = tmp_path / "llmfao.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines_of(llmfao)))
    return brought_and_frozen(make_project(), path)


def brought_and_frozen(project: Project, path: Path) -> Snapshot:
    job = import_votes(project, path, name="LLMFAO")
    assert job.status == "succeeded", job.error
    campaigns = list(Campaign.objects.filter(project=project))
    policy = {"aggregation": "votes"}
    snapshot = start_freeze(project=project, name="x", campaigns=campaigns, selection={}, pair_policy=policy, by=None)
    run_freeze(snapshot.pk)
    snapshot.refresh_from_db()
    assert snapshot.status == "succeeded", snapshot.error
    return snapshot


@pytest.fixture
def out(snapshot: Snapshot, tmp_path: Path) -> dict[str, list[dict[str, Any]]]:
    """Format -> its rows, of both sides of the border; models and people named."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for each in FORMATS:
        rows[each.name] = []
        for split in SPLITS[: 2 if each.has_split else 1]:
            path = tmp_path / f"{each.name}-{split}"
            options = Options(split=split, models=True, people=True)
            container = each.containers[0]
            n = write_export(directory_of(snapshot), path, export_format=each, container=container, options=options)
            found = list(_read(path, is_zip=container == "zip"))
            # The full format begins with a line on the dataset that is no row of it.
            assert each.name == "llama-factory" or n == len(found) - (each.name == "whetstone")
            rows[each.name] += found
    return rows


def _read(path: Path, *, is_zip: bool) -> Iterator[dict[str, Any]]:
    if not is_zip:
        yield from map(json.loads, path.read_bytes().splitlines())
        return
    with zipfile.ZipFile(path) as bundle:
        name = next(each for each in bundle.namelist() if "preference" in each)
        yield from map(json.loads, bundle.read(name).splitlines())


def test_llmfao_comes_out_in_every_format(
    raw: Raw, out: dict[str, list[dict[str, Any]]], snapshot: Snapshot, tmp_path: Path
) -> None:
    assert (len(raw.votes), len(raw.clear)) == (8931, 5460)
    n_rows, prompts = len(raw.rows), {vote["prompt"] for vote in raw.votes}
    n = {name: len(rows) for name, rows in out.items()}

    # Pairs: a row for each vote that prefers one of two different answers.
    assert {name: n[name] for name in (*PAIRS, "llama-factory")} == dict.fromkeys((*PAIRS, "llama-factory"), n_rows)
    expected = Counter(
        (vote["prompt"], vote["texts"][vote["winner"]], vote["texts"]["left" if vote["winner"] == "right" else "right"])
        for vote in raw.rows
    )
    assert expected == Counter(
        (row["prompt"][-1]["content"], row["chosen"][0]["content"], row["rejected"][0]["content"])
        for row in out["trl-preference"]
    )

    # Single answers.
    assert n["trl-unpaired"] == n["trl-unpaired-text"] == 2 * n_rows
    assert sum(row["label"] for row in out["trl-unpaired"]) == n_rows
    best = {(row["messages"][-2]["content"], row["messages"][-1]["content"]) for row in out["sft-best"]}
    assert best == raw.best() and n["sft-best"] == n["sft-best-text"] == len(best)
    assert n["sft-written"] == 0
    assert {row["prompt"][-1]["content"] for row in out["trl-prompts"]} == prompts
    assert n["trl-prompts"] == n["trl-prompts-text"] == len(prompts) == Prompt.objects.count()

    # Judgements: every vote, its side, its tie.
    assert Counter((row["model_a"], row["model_b"], row["winner"]) for row in out["arena"]) == Counter(
        (vote["left"], vote["right"], {"left": "model_a", "right": "model_b", "tie": "tie"}[vote["winner"]])
        for vote in raw.votes
    )
    assert n["rankings"] == n["helpsteer3"] == len({vote["pair"] for vote in raw.votes}) == 2139
    ranked: list[list[Any]] = [[tuple(vote["ranks"]) for vote in row["rankings"]] for row in out["rankings"]]
    scored: list[list[Any]] = [
        [_sign(vote["score"]) for vote in row["individual_preference"]] for row in out["helpsteer3"]
    ]
    ties: Any
    for tasks, ties in ((ranked, (1, 1)), (scored, 0)):
        assert sum(map(len, tasks)) == 8931 and sum(said.count(ties) for said in tasks) == 3471
        assert agreed(tasks) == pytest.approx(raw.agreement(), abs=1e-12)
    people = {vote["annotator"] for row in out["rankings"] for vote in row["rankings"]}
    assert len(people) == len({vote["worker"] for vote in raw.votes}) == 124

    # Everything: it comes in again, and the same dataset comes out.
    assert n["whetstone"] == 2139 + 1
    full = tmp_path / "full.jsonl"
    (tmp_path / "whetstone-train").rename(full)
    assert brought_and_frozen(make_project(), full).sha256 == snapshot.sha256
    assert set(n) == {each.name for each in FORMATS}


def _sign(score: int) -> int:
    return (score > 0) - (score < 0)
