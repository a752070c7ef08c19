"""Rows that are nearly right: whatever is missing or of another type, a reader gives a row or a bad row, and never an error."""

import copy
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotation.votes.formats import FORMATS, MAPPED, row_by_row
from annotation.votes.judged import Header, Judged
from annotation.votes.sources import mapped
from core.reading import BadRow, TableRow
from tests.annotation import test_votes_outside as outside
from tests.annotation import test_votes_sources as sources
from tests.annotation.votes import row, vote

NOW = datetime(2026, 2, 1, tzinfo=UTC)
Case = tuple[str, Mapping[str, str], Mapping[str, Any]]  # format, mapping, a good row

SIDE_BY_SIDE = {
    role: role.upper() for role in ("prompt", "answer_a", "answer_b", "winner", "model_a", "annotator", "time", "order")
}
MORE: list[Case] = [
    ("llamafactory", {}, {"instruction": "p", "input": "i", "chosen": "a", "rejected": "b", "history": [["q", "r"]], "system": "s"}),
    ("rankings", {}, {"task": "t", "prompt": sources.ASKED, "completions": ["a", "b"], "rankings": [
        {"annotator": "x", "ranks": [1, 2], "strength": 1, "scores": [{"criterion": "h", "ratings": [1, 2], "comparison": None}],
         "reasons": ["r"], "comment": "c", "time": "2026-01-01"}]}),
    ("label-studio", {}, {"data": {"prompt": "p", "answer1": "x", "answer2": "y"}, "annotations": [{"result": [
        {"type": "pairwise", "from_name": "pw", "to_name": "answer2,answer1", "value": {"selected": "left"}},
        {"type": "rating", "from_name": "good_1", "to_name": "answer1", "value": {"rating": 4}},
        {"type": "choices", "from_name": "why", "to_name": "prompt", "value": {"choices": ["short"]}}]}]}),
    ("argilla", {}, {"fields": {"prompt": "p", "response_a": "x", "response_b": "y"}, "responses": {
        "good_a": [{"value": 4, "user_id": "u"}], "good_b": [{"value": 5, "user_id": "u"}], "why": [{"value": ["s"], "user_id": "u"}]}}),
    ("argilla-flat", {}, {"prompt": "p", "response_a": "x", "response_b": "y", "rank.responses": [["B", "A"], [{"value": "A", "rank": 1},
        {"value": "B", "rank": 1}]], "rank.responses.users": ["u", "v"], "sure.responses": [3, None],
        "sure.responses.users": ["u", "v"]}),
    ("votes", {}, outside.TASK),
    ("votes", {}, row(1, id="17", system="s", group="g", split="train", tags=["t"], metadata={"m": [1]}, votes=[
        vote(strength=1, scores={"h": [1, 2], "s": -1}, reasons=["r"], comment="c", better_answer="b", seconds=3, time="2026-01-01")])),
    (MAPPED, SIDE_BY_SIDE, {"PROMPT": "p", "ANSWER_A": "x", "ANSWER_B": "y", "WINNER": "a", "MODEL_A": "m", "ANNOTATOR": 7,
                            "TIME": "2026-01-01", "ORDER": "ba", "more": {"a": [1]}}),
    (MAPPED, {"prompt": "P", "chosen": "C", "rejected": "R", "strength": "S", "seconds": "T", "comment": "W", "id": "I"},
     {"P": sources.ASKED, "C": sources.said("x"), "R": [*sources.ASKED, *sources.said("y")], "S": 1, "T": 2.5, "W": "w", "I": 3}),
    (MAPPED, {"prompt": "P", "answer": "A", "label": "L", "system": "S", "group": "G", "split": "D", "tags": "T"},
     {"P": "p", "A": "x", "L": True, "S": "s", "G": "g", "D": "train", "T": ["t"]}),
]  # fmt: skip
SHAPES = [None, "", 0, -1, 1.5, 10**18, True, "x", "a", "\n\nHuman: x", [], {}, ["x"], [None], [[]], [{}], {"a": 1}, [3], "[1",
          [{"role": "user"}], [{"role": "assistant", "content": None}], {"role": "assistant", "content": 5}]  # fmt: skip
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def cases() -> list[Case]:
    marks = sources.test_each_format_is_recognised_and_read.pytestmark  # type: ignore[attr-defined]
    return [*((name, {}, row) for name, row, _ in marks[0].args[1]), *MORE]


def read(case: Case, *rows: Mapping[str, Any]) -> list[Any]:
    name, mapping, _ = case
    how = row_by_row(mapped.reader(mapping)) if mapping else next(each.read for each in FORMATS if each.name == name)
    described = outside.CAMPAIGNS if name == "votes" else ()
    found = list(how([TableRow(line, dict(row), "{") for line, row in enumerate([*described, *rows], 1)], NOW))
    return found[len(described) :]


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every key and every index at every depth, as the way to it."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        yield (*above, key)
        yield from places(inner, (*above, key))


def changed(row: Mapping[str, Any], place: tuple[Any, ...], *value: Any) -> dict[str, Any]:
    """The row with another value at this place, or without it where none is given."""
    made = copy.deepcopy(dict(row))
    part: Any = made
    for key in place[:-1]:
        part = part[key]
    if value:
        part[place[-1]] = copy.deepcopy(value[0])
    else:
        del part[place[-1]]
    return made


def assert_told(rows: list[Any]) -> None:
    for each in rows:
        assert isinstance(each, (Judged, BadRow, Header)), each
        assert not isinstance(each, BadRow) or (each.line and each.reason.endswith((".", ")", "”"))), each


def test_every_format_is_among_the_cases() -> None:
    assert {name for name, *_ in cases()} == {each.name for each in FORMATS} | {MAPPED}
    for case in cases():
        [good] = read(case, case[2])
        assert isinstance(good, Judged), (case, good)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case[0])
def test_whatever_is_missing_or_of_another_type_is_told(case: Case) -> None:
    good = case[2]
    rows = [changed(good, place, shape) for place in places(good) for shape in SHAPES]
    rows += [changed(good, place) for place in places(good)]
    assert_told(read(case, good, *rows, {}, {"other": 1}))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_else_a_row_holds_is_told(data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(cases()))
    made = case[2]
    for _ in range(data.draw(st.integers(1, 4))):
        if not (left := list(places(made))):
            break
        place = data.draw(st.sampled_from(left))
        made = changed(made, place) if data.draw(st.booleans()) else changed(made, place, data.draw(ODD))
    assert_told(read(case, made))
