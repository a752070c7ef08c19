"""What an export does not carry: the side of the split, of which an import is told, and what each format lists besides."""

import json
from typing import Any

import pytest

from generation.prompt_importing import run_import
from generation.prompts import start_import
from tests.annotation.votes import import_votes, row, vote
from tests.training.judged import make_project
from tests.training.round_trip import (
    LOSSLESS,
    UNPAIRED,
    brought,
    comes_back_whole,
    exported,
    frozen,
    judge_all,
    lines_of,
    prompts,
    rows,
)
from training.exports.formats import FORMATS
from training.models import Snapshot

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_broker")]
NO = {"model": "B", "text": "No."}


@pytest.fixture
def two_sided() -> Snapshot:
    """Every second prompt is held out, whatever its hash says."""
    project = make_project()
    held_out = [{**each, "split": "holdout"} if number % 2 else each for number, each in enumerate(rows(16))]
    assert import_votes(project, *held_out).status == "succeeded"
    return frozen(project, pair_policy=UNPAIRED)


BY_PROMPT = ("trl-prompts", "trl-prompts-text")


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", [*LOSSLESS, "ultrafeedback", "trl-unpaired", "arena", "rankings", "helpsteer3"])
def test_a_side_comes_back_where_the_import_is_told_which_it_is(two_sided: Snapshot, name: str, split: str) -> None:
    first = exported(two_sided, name, split=split)
    project = make_project()
    job = import_votes(project, first, name="again", choices={"is_holdout_only": split == "test"})
    assert job.status == "succeeded", (job.error, job.bad_rows[:3])
    again = frozen(project, pair_policy=UNPAIRED)
    assert lines_of(exported(again, name, split=split)) == lines_of(first)
    other = "train" if split == "test" else "test"
    assert not again.counts["rows"][other]


@pytest.mark.parametrize("name", BY_PROMPT)
def test_prompts_that_are_held_out_come_back_so_where_the_import_is_told(two_sided: Snapshot, name: str) -> None:
    first = exported(two_sided, name, split="test", details=True)
    job = start_import(
        project=make_project(), upload=first, filename=first.name, name="again", by=None, is_holdout_only=True
    )
    run_import(job.pk)
    job.refresh_from_db()
    judge_all(job.set)
    again = frozen(job.set.project)
    assert exported(again, name, split="test", details=True).read_bytes() == first.read_bytes()


def test_the_full_format_keeps_both_sides(two_sided: Snapshot) -> None:
    tasks = comes_back_whole(two_sided, pair_policy=UNPAIRED)
    assert [sum(task["split"] == side for task in tasks) for side in ("train", "holdout")] == [8, 8]


# ---- what cannot come back, as each format says ----------------------------------------------------------------------


def cannot(name: str) -> str:
    return "; ".join(next(each for each in FORMATS if each.name == name).cannot)


def test_every_format_with_sides_says_that_it_does_not_carry_them() -> None:
    assert all(("which side of the split" in cannot(each.name)) == each.has_split for each in FORMATS)


@pytest.fixture
def of_three() -> Snapshot:
    """Two of three people are for one answer, slightly and clearly."""
    header = {"campaign": {"id": "c1", "name": "Three", "strength_levels": 3}}
    votes = [vote("x", "a", strength=1), vote("y", "a", strength=3), vote("z", "b", strength=2)]
    project = make_project()
    assert import_votes(project, header, row(prompt=next(prompts()), campaign="c1", votes=votes)).status == "succeeded"
    return frozen(project)


def once_and_again(snapshot: Snapshot, name: str, **options: Any) -> tuple[list[Any], list[Any]]:
    first = exported(snapshot, name)
    second = exported(frozen(brought(first), **options), name)
    one, other = ([json.loads(line) for line in lines_of(path)] for path in (first, second))
    return one, other


def test_the_mean_of_margins_comes_back_as_none(of_three: Snapshot) -> None:
    (one,), (other,) = once_and_again(of_three, "trl-reward")
    assert (one.pop("margin"), other.pop("margin")) == (0.222222, 0.0) and one == other
    assert "twelfths" in cannot("trl-reward") and "twelfths" in cannot("trl-reward-text")


def test_shares_of_divided_votes_come_back_as_one_and_none(of_three: Snapshot) -> None:
    (one,), (other,) = once_and_again(of_three, "ultrafeedback")
    assert (one.pop("score_chosen"), one.pop("score_rejected")) == (0.666667, 0.333333)
    assert (other.pop("score_chosen"), other.pop("score_rejected")) == (1.0, 0.0) and one == other
    assert "shares of votes" in cannot("ultrafeedback")


def test_the_answers_of_a_ranking_come_back_once_each_and_the_middle_one_not_at_all() -> None:
    answers = [{"model": "M", "text": text} for text in ("best", "middle", "worst")]
    project = make_project()
    ranked = row(prompt=next(prompts()), answers=answers, votes=[{"annotator": "7", "ranks": [1, 2, 3]}])
    assert import_votes(project, ranked).status == "succeeded"
    one, other = once_and_again(frozen(project), "trl-unpaired", pair_policy=UNPAIRED)
    assert len(one) == 6
    assert {(each["completion"][0]["content"], each["label"]) for each in other} == {("best", True), ("worst", False)}
    assert len(other) == 2
    assert "how often an answer was in a pair" in cannot("trl-unpaired")


def test_two_votes_of_a_person_on_the_same_answers_are_refused_as_battles_where_they_differ() -> None:
    answers = [{"model": "M", "text": text} for text in ("best", "middle", "worst")]
    prompt = next(prompts())
    project = make_project()
    ranked = row(prompt=prompt, answers=answers, votes=[{"annotator": "7", "ranks": [1, 2, 3]}])
    paired = row(prompt=prompt, answers=answers[:2], votes=[vote("7", "b")])
    assert import_votes(project, ranked, paired).status == "succeeded"
    job = import_votes(make_project(), exported(frozen(project), "arena"), name="again")
    assert job.status == "failed" and "said something else" in job.bad_rows[0]["reason"]
    assert "second vote" in cannot("arena")


@pytest.mark.parametrize(("name", "n_rows"), [("rankings", 2), ("helpsteer3", 2)])
def test_tasks_whose_answers_read_the_same_come_back_as_one_without_their_models(name: str, n_rows: int) -> None:
    prompt = next(prompts())
    alike = [
        row(prompt=prompt, answers=[{"model": model, "text": "Yes."}, NO], votes=[vote(model)]) for model in ("A", "C")
    ]
    project = make_project()
    assert import_votes(project, *alike).status == "succeeded"
    one, (only,) = once_and_again(frozen(project), name)
    assert len(one) == n_rows
    assert len(only["rankings" if name == "rankings" else "individual_preference"]) == 2
    assert "read the same" in cannot(name)


def test_strengths_on_the_scale_of_margins_are_refused_in_rankings() -> None:
    project = make_project()
    pair = {"prompt": next(prompts()), "chosen": "Yes", "rejected": "No", "margin": 0.75}
    assert import_votes(project, pair).status == "succeeded"
    job = import_votes(make_project(), exported(frozen(project), "rankings"), name="again")
    assert job.status == "failed" and "from 1 to 4" in job.bad_rows[0]["reason"]
    assert "strengths above 4" in cannot("rankings")


def test_of_a_prompt_in_two_sets_the_full_format_brings_back_what_one_says() -> None:
    project = make_project()
    for name in ("one", "two"):
        each = row(prompt=next(prompts()), answers=[{"model": name, "text": "Yes."}, NO], tags=[name])
        assert import_votes(project, each, name=name).status == "succeeded"
    one, other = once_and_again(frozen(project), "whetstone")
    assert {tuple(line["tags"]) for line in one if "tags" in line} == {("one",), ("two",)}
    assert len({tuple(line["tags"]) for line in other if "tags" in line}) == 1
    assert "several sets" in cannot("whetstone")
