"""Out, in, and out again: what a format carries comes back, and what it cannot carry is what its entry says.

x is a campaign of our own votes; the second export is made in a project that knows nothing but the first one's file.
"""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from accounts.models import Project
from annotation.models import Campaign, Judgement
from core.ids import group_sha256, split_for
from generation.models import Candidate, Prompt
from tests.annotation.votes import import_votes, row, vote
from tests.training.judged import make_project
from training.exports.formats import FORMATS
from training.exports.job import file_of, run_export, start_export
from training.freezing import run_freeze, start_freeze
from training.models import Snapshot

pytestmark = pytest.mark.django_db
ODD = [
    "CR\r\nLF",
    "U+2028 \u2028 inside",
    "\u202eright to left\u202c",
    'tab\tand \\N and "quotes"',
    "emoji \U0001f468\u200d\U0001f469\u200d\U0001f467",
    " space before",
]
SELECTION = {"with_unblinded": True}
LOSSLESS = (
    "trl-preference",
    "trl-preference-text",
    "trl-implicit",
    "hh",
    "trl-reward",
    "trl-reward-text",
    "openai-preference",
)
UNPAIRED = {"unpaired": True}
FULL_OPTIONS = {"models": True, "people": True}


@pytest.fixture(autouse=True)
def _no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.jobs._send", lambda job: None)


def prompts() -> Iterator[str]:
    """Prompts that lie on the side of training by their own hash, so that they do so wherever they come in."""
    number = 0
    while True:
        text = f"Question {number}? {ODD[number % len(ODD)]}"
        if split_for(group_sha256(text)) == "train":
            yield text
        number += 1


def rows(n: int = 12) -> list[dict[str, Any]]:
    found = []
    for number, text in zip(range(n), prompts(), strict=False):
        odd = ODD[(number + 1) % len(ODD)]
        answers = [
            {"model": f"M{number % 3}", "text": f"{number} first {odd}"},
            {"model": "N", "text": f"second {odd} {number}"},
        ]
        prompt: Any = text
        if number % 3 == 1:
            prompt = [
                {"role": "system", "content": "Be brief."}, {"role": "user", "content": text},
                {"role": "assistant", "content": f"Well. {odd}"}, {"role": "user", "content": "And then?"},
            ]  # fmt: skip
        time = f"2026-01-02T03:04:{number:02}Z"
        votes = [
            vote(
                "7",
                "ab"[number % 2],
                order=["ab", "ba"][number % 2],
                strength=1 + number % 3,
                time=time,
                vote_id=f"v{number}",
            )
        ]
        if number % 4 == 2:
            votes = [
                vote(
                    "7", ["tie", "both_good", "both_bad"][number // 4 % 3], order="ab", time=time, vote_id=f"v{number}"
                )
            ]
        found.append(row(number, prompt=prompt, answers=answers, votes=votes, id=f"t{number}"))
    return found


def frozen(project: Project, name: str = "x", **options: Any) -> Snapshot:
    campaigns = list(Campaign.objects.filter(project=project).order_by("pk"))
    snapshot = start_freeze(project=project, name=name, campaigns=campaigns, selection=SELECTION, by=None, **options)
    run_freeze(snapshot.pk)
    snapshot.refresh_from_db()
    assert snapshot.status == "succeeded", snapshot.error
    return snapshot


def exported(snapshot: Snapshot, name: str, container: str = "", **options: Any) -> Path:
    chosen = next(each for each in FORMATS if each.name == name)
    job = start_export(
        snapshot=snapshot, file_format=name, container=container or chosen.containers[0], options=options, by=None
    )
    run_export(job.pk)
    job.refresh_from_db()
    assert job.status == "succeeded", job.error
    return file_of(job)


def lines_of(path: Path) -> list[str]:
    """The rows, whatever their order: it follows from where a prompt ends, which an implicit one does not say."""
    return sorted(path.read_text(encoding="utf-8").removesuffix("\n").split("\n"))


def brought(path: Path) -> Project:
    """A project that has only what the file says."""
    project = make_project()
    job = import_votes(project, path, name="again")
    assert job.status == "succeeded", (job.error, job.bad_rows[:3])
    return project


@pytest.fixture
def snapshot() -> Snapshot:
    project = make_project()
    job = import_votes(project, *rows())
    assert job.status == "succeeded", (job.error, job.bad_rows)
    return frozen(project)


@pytest.mark.parametrize("name", LOSSLESS)
def test_pairs_come_back_whole(snapshot: Snapshot, name: str) -> None:
    # T077
    first = exported(snapshot, name)
    second = exported(frozen(brought(first)), name)
    assert lines_of(first) == lines_of(second) and len(lines_of(first)) == 9


@pytest.mark.parametrize("container", ["jsonl.zst", "parquet", "csv"])
def test_every_container_comes_back_whole(snapshot: Snapshot, container: str) -> None:
    plain = exported(snapshot, "trl-reward", "jsonl")
    packed = exported(snapshot, "trl-reward", container)
    second = exported(frozen(brought(packed)), "trl-reward", "jsonl")
    assert lines_of(plain) == lines_of(second)


def test_shares_of_votes_come_back_where_the_voters_were_of_one_mind(snapshot: Snapshot) -> None:
    first = exported(snapshot, "ultrafeedback")
    second = exported(frozen(brought(first)), "ultrafeedback")
    assert lines_of(first) == lines_of(second)
    assert not Prompt.objects.exclude(metadata={}).exists(), "scores that follow from the votes are no metadata"


@pytest.mark.parametrize("name", ["trl-unpaired", "trl-unpaired-text"])
def test_answers_judged_alone_come_back_without_their_pairs(snapshot: Snapshot, name: str) -> None:
    whole = frozen(snapshot.project, name="with ties", pair_policy=UNPAIRED)
    first = exported(whole, name)
    second = exported(frozen(brought(first), pair_policy=UNPAIRED), name)
    assert lines_of(first) == lines_of(second)
    assert len(lines_of(first)) == 2 * 9 + 2 * 2, "both answers of nine pairs, and of a pair both good and one both bad"


def test_battles_come_back_with_people_times_and_sides(snapshot: Snapshot) -> None:
    first = exported(snapshot, "arena", **FULL_OPTIONS)
    second_project = brought(first)
    second = exported(frozen(second_project), "arena", **FULL_OPTIONS)
    told = [
        [{k: v for k, v in json.loads(line).items() if k != "judge"} for line in lines_of(path)]
        for path in (first, second)
    ]
    key = lambda battle: battle["question_id"]  # noqa: E731
    assert sorted(told[0], key=key) == sorted(told[1], key=key)
    people = Judgement.objects.filter(assignment__task__campaign__project=second_project)
    assert people.values("assignment__annotator").distinct().count() == 1, (
        "the same person, by a name of the project's own"
    )


def test_rankings_come_back_with_strength_and_ties(snapshot: Snapshot) -> None:
    first = exported(snapshot, "rankings", **FULL_OPTIONS)
    second = exported(frozen(brought(first)), "rankings", **FULL_OPTIONS)
    told = []
    for path in (first, second):
        records = [json.loads(line) for line in lines_of(path)]
        for record in records:
            for ranking in record["rankings"]:
                ranking.pop("annotator")
        told.append(sorted(records, key=lambda record: record["task"]))
    assert told[0] == told[1]


def test_preferences_of_seven_levels_come_back(snapshot: Snapshot) -> None:
    first = exported(snapshot, "helpsteer3")
    second = exported(frozen(brought(first)), "helpsteer3")
    told = [[json.loads(line) for line in lines_of(path)] for path in (first, second)]
    key = lambda task: (json.dumps(task["context"]), task["response1"])  # noqa: E731
    assert sorted(told[0], key=key) == sorted(told[1], key=key)


def test_the_files_of_llama_factory_come_back(snapshot: Snapshot, tmp_path: Path) -> None:
    def preferences(of: Snapshot) -> Path:
        path = exported(of, "llama-factory")
        with zipfile.ZipFile(path) as bundle:
            name = next(each for each in bundle.namelist() if "preference" in each)
            found = tmp_path / f"{of.pk}.jsonl"
            found.write_bytes(bundle.read(name))
        return found

    first = preferences(snapshot)
    second = preferences(frozen(brought(first)))
    assert lines_of(first) == lines_of(second) and len(lines_of(first)) == 9


@pytest.mark.parametrize("name", ["sft-best", "sft-best-text"])
def test_best_answers_come_in_as_answers_that_nobody_has_judged(snapshot: Snapshot, name: str) -> None:
    first = exported(snapshot, name)
    project = brought(first)
    assert not Campaign.objects.filter(project=project).exists()
    found = set(Candidate.objects.filter(prompt__set__project=project).values_list("text", flat=True))
    origin = exported(snapshot, "sft-best")
    assert found == {json.loads(line)["messages"][-1]["content"] for line in lines_of(origin)}


def test_the_full_format_loses_nothing(snapshot: Snapshot) -> None:
    first = exported(snapshot, "whetstone", **FULL_OPTIONS)
    again = frozen(brought(first))
    assert exported(again, "whetstone", **FULL_OPTIONS).read_bytes() == first.read_bytes()
    assert again.sha256 == snapshot.sha256, "and the dataset has the same rows"


def test_every_format_is_tried_here() -> None:
    tried = {
        *LOSSLESS, "ultrafeedback", "trl-unpaired", "trl-unpaired-text", "arena", "rankings", "helpsteer3", "llama-factory",
        "sft-best", "sft-best-text", "whetstone",
    }  # fmt: skip
    # Better answers that people wrote are answers; prompts go to the import of prompts.
    assert {each.name for each in FORMATS} - tried == {"sft-written", "trl-prompts", "trl-prompts-text"}
