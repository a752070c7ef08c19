"""The examples of the how-tos, run as they stand there; what they print is checked against the page as they run.

That of use-the-api.md runs in tests/api/test_example.py, that of push-a-dataset.md in tests/training/pushing/test_example.py.
"""

import csv
import hashlib
from pathlib import Path

import pytest

from accounts.models import Project
from annotation.models import Campaign, Judgement, RankedCandidate
from generation.models import Prompt, PromptSet
from tests.annotation.builders import make_project
from tests.howto.pages import example, rows_in, run_example
from training.models import ExportJob, Snapshot
from training.snapshots import directory_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> Project:
    return make_project(slug="house")


def texts(rows: list[dict], column: str) -> list[str]:
    return sorted(row[column][0]["content"] for row in rows)


def test_prompts_are_imported(house: Project, tmp_path: Path) -> None:
    run_example(example("import-prompts"), tmp_path)
    uses, kitchen = PromptSet.objects.order_by("id")
    assert (uses.project, uses.licence) == (house, "CC0-1.0")
    system, user = Prompt.objects.get(set=uses, messages__0__role="system").messages
    assert (system["content"], user["content"]) == ("Be brief.", "Name a use for a mirror.")
    assert Prompt.objects.get(messages__0__content="Name a use for a rope.").split == "holdout"
    assert Prompt.objects.get(messages__0__content="Name a use for a brick.").tags == ["tools"]
    assert {(*prompt.tags, prompt.metadata["shelf"]) for prompt in Prompt.objects.filter(set=kitchen)} == {
        ("kitchen", 4), ("kitchen", 2),
    }  # fmt: skip


def test_votes_are_imported(house: Project, tmp_path: Path) -> None:
    run_example(example("import-votes"), tmp_path)
    crowd, opinions = Campaign.objects.order_by("id")
    assert (crowd.project, crowd.name, opinions.name) == (house, "crowd", "opinions")
    said = Judgement.objects.filter(assignment__task__campaign=crowd)
    assert sorted(said.values_list("verdict", flat=True)) == ["ranked", "ranked", "ranked", "tie"]
    assert set(said.values_list("assignment__annotator__external_id", "assignment__annotator__source")) == {
        ("ana", "The crowd"), ("ben", "The crowd"),
    }  # fmt: skip
    best = RankedCandidate.objects.filter(judgement__assignment__task__campaign=opinions, rank=1)
    assert sorted(best.values_list("candidate__text", flat=True)) == ["Read by it.", "Sift flour."]


def test_a_dataset_is_frozen(house: Project, tmp_path: Path) -> None:
    run_example(example("freeze-a-dataset"), tmp_path)
    by_majority, by_votes = Snapshot.objects.order_by("id")
    assert (by_majority.project, by_majority.name, by_votes.name) == (house, "uses-by-majority", "uses-by-votes")
    assert texts(rows_in(directory_of(by_majority) / "train.jsonl"), "chosen") == ["A doorstop."]
    assert texts(rows_in(directory_of(by_majority) / "test.jsonl"), "chosen") == ["Tie a boat up."]
    assert texts(rows_in(directory_of(by_votes) / "train.jsonl"), "chosen") == [
        "A doorstop.", "A doorstop.", "No.", "Sift flour.",
    ]  # fmt: skip


def test_a_dataset_is_exported(house: Project, tmp_path: Path) -> None:
    run_example(example("export-a-dataset"), tmp_path)
    assert {(job.file_format, job.container, job.options["split"], job.sha256) for job in ExportJob.objects.all()} == {
        (name, file.suffix[1:], split, hashlib.sha256(file.read_bytes()).hexdigest())
        for name, split, file in (
            ("trl-preference", "train", tmp_path / "train.parquet"),
            ("trl-preference", "test", tmp_path / "test.parquet"),
            ("trl-reward", "train", tmp_path / "margins.csv"),
        )
    }
    with (tmp_path / "margins.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {("doorstop" in row["chosen"], float(row["margin"])) for row in rows} == {(True, 1.0), (False, 0.5)}
