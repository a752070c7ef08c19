"""The full format out and in again: strengths, many votes, answers that look the same. It comes back to the byte."""

import json
from typing import Any

import pytest

from annotation.votes import judged
from tests.annotation.votes import import_votes, row, vote
from tests.training.judged import make_project
from tests.training.round_trip import (
    brought,
    comes_back_whole,
    exported,
    frozen,
    lines_of,
    rows,
)
from training.formats import records

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_broker")]


def test_strengths_on_the_fine_scale_of_margins_come_back() -> None:
    pairs = [
        {"prompt": f"Margin {m}?", "chosen": "Yes", "rejected": "No", "margin": m} for m in (0.25, 1 / 3, 0.75, 1.0)
    ]
    project = make_project()
    assert import_votes(project, *pairs).status == "succeeded"
    tasks = comes_back_whole(frozen(project))
    assert sorted(task["votes"][0]["strength"] for task in tasks) == [3, 4, 9, 12]


@pytest.mark.parametrize("n_votes", [450, 30])
def test_a_task_of_many_votes_comes_back(n_votes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one line where that can be read, else as several, of which an import makes the one task again."""
    is_split = n_votes == 30
    comment = "long " * 4_000 if is_split else ""
    votes = [
        vote(n, "ab"[n % 3 == 0], comment=f"{comment}{n}", time="2026-01-02T03:04:05Z", vote_id=f"v{n}")
        for n in range(n_votes)
    ]
    if is_split:
        monkeypatch.setattr("training.formats.records.MAX_LINE_BYTES", 250_000)
    project = make_project()
    assert import_votes(project, *(row(n, votes=votes, id=f"t{n}") for n in (1, 2))).status == "succeeded"
    first = frozen(project)
    tasks = comes_back_whole(first)
    assert len(tasks) == (8 if is_split else 2)
    assert {task["id"] for task in tasks} == {"t1", "t2"} and sum(len(task["votes"]) for task in tasks) == 2 * n_votes
    hidden = exported(first, "whetstone")
    assert len(lines_of(hidden)) == 1 + len(tasks), "with names hidden, too, no line is too long"
    assert exported(frozen(brought(hidden)), "whetstone").read_bytes() == hidden.read_bytes()
    split = tasks[0]["split"].replace("holdout", "test")
    rankings = [json.loads(line)["rankings"] for line in lines_of(exported(first, "rankings", split=split))]
    assert {len(each) for each in rankings} == {n_votes}, "whole again in the other formats"


def test_a_line_holds_no_more_votes_than_an_import_reads() -> None:
    assert records.MAX_VOTES == judged.MAX_VOTES
    written = records.readable({"votes": list(range(10_001))}, lambda part: json.dumps(part).encode())
    parts = [json.loads(line)["votes"] for line in written]
    assert [len(part) for part in parts] == [5_000, 5_001] and [*parts[0], *parts[1]] == list(range(10_001))


def twin(id_: str = "", text: str = "Yes.", **more: Any) -> dict[str, Any]:
    return {"model": "A", "text": text, **({"id": id_} if id_ else {}), **more}


NO = {"model": "B", "text": "No."}
SAME = {"prompt": "Yes or no?", "split": "train"}


@pytest.mark.parametrize("choices", ["aa", "ab", "ba"])
def test_tasks_that_only_ids_tell_apart_come_back_as_two(choices: str) -> None:
    rows = [
        {**SAME, "answers": [twin(id_), NO], "votes": [vote("x", choice), vote("y", "a")]}
        for id_, choice in zip("12", choices, strict=True)
    ]
    project = make_project()
    assert import_votes(project, *rows).status == "succeeded"
    tasks = comes_back_whole(frozen(project))
    assert [sorted(answer.get("id", "") for answer in task["answers"]) for task in tasks] in (
        [["", "1"], ["", "2"]],
        [["", "2"], ["", "1"]],
    )


def test_answers_of_one_text_that_were_sampled_otherwise_stay_two() -> None:
    """Three tasks of a prompt: two that share an answer, and two whose answers look the same and have other seeds."""
    header = {"campaign": {"id": "c1", "name": "Sampled", "kind": "rank"}}
    others = [{"model": "B", "text": text} for text in ("No.", "Never.", "Perhaps.")]
    first, second = twin("7", seed=5), twin("8", seed=40, sampling={"temperature": 0.7})
    rows: list[dict[str, Any]] = [
        {**SAME, "campaign": "c1", "answers": answers, "votes": [vote(f"human-{who}", "b") for who in range(3)]}
        for answers in ([first, others[0]], [second, others[1]], [others[2], second])
    ]
    rows.append(
        {**SAME, "campaign": "c1", "answers": [second, first, NO], "votes": [{"ranks": [1, 2, 2], "order": "cab"}]}
    )
    project = make_project()
    assert import_votes(project, header, *rows).status == "succeeded"
    tasks = comes_back_whole(frozen(project))
    seeds = {(a.get("id"), a.get("seed")) for task in tasks for a in task["answers"] if a["text"] == "Yes."}
    assert seeds == {("1", 40), ("2", 5)}


def test_answers_that_look_the_same_in_one_task_are_told_apart_by_their_places() -> None:
    header = {"campaign": {"id": "c1", "name": "Same", "kind": "rank"}}
    votes = [{"annotator": "human-1", "ranks": [2, 3, 1], "order": "bca", "time": "2026-01-02T03:04:05Z"}]
    answers = [twin("x", sampling={"top_p": 0.5}), twin("y"), NO]
    both: dict[str, Any] = {"campaign": "c1", "answers": answers, "votes": votes}
    project = make_project()
    assert import_votes(project, header, *({**both, "prompt": f"Same {n}?"} for n in range(6))).status == "succeeded"
    tasks = comes_back_whole(frozen(project))
    assert {tuple(answer["id"] for answer in task["answers"]) for task in tasks} == {("1", "2", "3")}


def test_the_same_file_twice_needs_no_ids() -> None:
    project = make_project()
    for name in ("one", "two"):
        assert import_votes(project, *rows(3), name=name).status == "succeeded"
    assert not any("id" in answer for task in comes_back_whole(frozen(project)) for answer in task["answers"])
