"""One line of votes: what is read, and the reason for everything that is not."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotation.votes import profile
from annotation.votes.formats import recognise
from annotation.votes.judged import Judged, Row
from core.reading import BadRow, UnreadableFile
from core.tables import table_rows
from tests.annotation.votes import jsonl, row, vote

ODD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=60)


def read(path: Path, *rows: Any) -> list[Row]:
    path.write_bytes(jsonl(*rows).read())
    return list(profile.read(table_rows(path, "jsonl"), datetime.now(UTC)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "v.jsonl"


def good(path: Path, **fields: Any) -> Judged:
    [found] = read(path, row(**fields))
    assert isinstance(found, Judged), found
    return found


def reason(path: Path, line: Any) -> str:
    [found] = read(path, line)
    assert isinstance(found, BadRow), found
    return found.reason


def test_a_judged_pair_is_read_whole(path: Path) -> None:
    found = good(
        path, system="Be brief.", tags=["maths"], note="n", reference="2", language="en", metadata={"a": [1]}, id=17,
        votes=[
            vote("58", "b", order="ba", strength=2, scores={"helpful": [2, 5], "harmless": -1}, reasons=["clear"],
                 comment="c", better_answer="w", seconds=3.5, time="2023-10-01T12:00:00+02:00", vote_id="v1"),
            vote(59, "tie"),
            {"choice": "both_bad"},
        ],
    )  # fmt: skip
    assert [message["role"] for message in found.prompt.messages] == ["system", "user"]
    assert (found.id, found.prompt.metadata) == ("17", {"a": [1], "language": "en"})
    first, second, third = found.votes
    assert (first.verdict, first.ranks, first.order, first.strength) == ("ranked", (2, 1), (1, 0), 2)
    assert first.scores == (("helpful", 0, 2), ("helpful", 1, 5), ("harmless", None, -1))
    assert (first.reasons, first.comment, first.write_in, first.seconds, first.id) == (("clear",), "c", "w", 3.5, "v1")
    assert first.at == datetime(2023, 10, 1, 10, tzinfo=UTC)
    assert (second.annotator, second.verdict, second.ranks, second.order) == ("59", "tie", (1, 1), ())
    assert (third.annotator, third.verdict) == ("", "all_bad")


def test_one_vote_on_a_line_needs_no_list(path: Path) -> None:
    line = {key: value for key, value in row().items() if key != "votes"} | {"annotator": 3, "choice": "b"}
    [found] = read(path, line)
    assert isinstance(found, Judged)
    assert [(each.annotator, each.ranks) for each in found.votes] == [("3", (2, 1))]


def test_ranks_are_closed_up_and_equal_ones_are_ties(path: Path) -> None:
    answers = [{"model": name, "text": name} for name in "WXYZ"]
    found = good(path, answers=answers, votes=[{"ranks": [1, 4, 1, 9]}, {"ranks": [2, 2, 2, 2]}])
    assert [(each.verdict, each.ranks) for each in found.votes] == [("ranked", (1, 2, 1, 3)), ("tie", (1, 1, 1, 1))]


def test_empty_answers_are_answers(path: Path) -> None:
    found = good(path, answers=[{"model": "One", "text": ""}, {"model": "Two", "text": "\n"}])
    assert [answer.text for answer in found.answers] == ["", "\n"]


TWO = row()["answers"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{broken", "The line is not JSON"),
        ("[1]", "not an object"),
        (b'{"prompt": "\xff"}', "not UTF-8"),
        ('{"prompt": "a\\u0000b", "answers": []}', "NUL"),
        ('{"prompt": "a\\ud800b", "answers": []}', "lone surrogate"),
        ('{"prompt": "a", "prompt": "b"}', "there twice"),
        ('{"prompt": NaN}', "NaN is not JSON"),
        ('{"prompt": 1e999}', "too large"),
        ('{"prompt": ' + "[" * 60 + "]" * 60 + "}", "nested"),
        ('{"metadata": ' + '{"a":' * 99_000 + "1" + "}" * 99_000 + "}", "nested"),
        ('{"prompt": "' + "x" * 10_000_000 + '"}', "longer than 4 MiB"),
        (row(prompt=" "), "prompt is empty"),
        ({"answers": TWO, "choice": "a"}, "has no prompt"),
        (row(prompt=[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]), "ends with the user"),
        (row(annotater="7"), "“annotater” is not known"),
        (row(choice="a"), "belongs into the votes"),
        ({key: value for key, value in row().items() if key != "votes"}, "has no vote"),
        (row(answers=[TWO[0], {**TWO[0], "finish_reason": "stop"}]), "the same text by the same model"),
        (row(votes={"a": 1}), "The votes are a list"),
        (row(votes=["a"]), "Vote 1 is not an object"),
        (row(votes=[vote(), vote("8", "c")]), "Vote 2: The choice is a letter"),
        (row(votes=[vote("8", ["a"])]), "The choice is a letter"),
        (row(votes=[{"annotator": "7"}]), "either a choice or ranks"),
        (row(votes=[vote(ranks=[1, 2])]), "either a choice or ranks"),
        (row(votes=[{"ranks": [1]}]), "not a list of 2 numbers"),
        (row(votes=[{"ranks": [0, 1]}]), "whole number from 1"),
        (row(votes=[{"ranks": [True, 2]}]), "whole number from 1"),
        (row(votes=[vote(order="aa")]), "names each answer once"),
        (row(votes=[vote(order="abc")]), "names each answer once"),
        (row(votes=[vote(order=["a", "b"])]), "names each answer once"),
        (row(votes=[vote(strength=5)]), "from 1 to 4"),
        (row(votes=[vote(choice="tie", strength=1)]), "belongs to a vote for one"),
        (row(votes=[vote(scores={"Helpful!": [1, 2]})]), "no name for a criterion"),
        (row(votes=[vote(scores={"helpful": [1]})]), "not one for each answer"),
        (row(votes=[vote(scores={"helpful": [0, 2]})]), "from 1 to 10"),
        (row(votes=[vote(scores={"helpful": 9})]), "from -4 to 4"),
        (row(votes=[vote(reasons="clear")]), "a list of at most"),
        (row(votes=[vote(comment=3)]), "The comment is not text"),
        (row(votes=[vote(seconds=-1)]), "The seconds"),
        (row(votes=[vote(time="yesterday")]), "neither ISO 8601"),
        (row(votes=[vote(time="1066-10-14")]), "before 1990 or in the future"),
        (row(votes=[vote(time=1e18)]), "neither ISO 8601"),
        (row(votes=[vote(annotator="x" * 201)]), "longer than 200"),
        (row(votes=[vote(annotator=True)]), "neither text nor"),
        (row(votes=[vote(mood="good")]), "“mood” is not known in a vote"),
        (row(answers="x"), "The answers are not a list"),
        (row(answers=[]), "has 0 answers"),
        (row(answers=TWO[:1]), "judged by both_good or both_bad"),
        (row(answers=TWO * 5), "has 10 answers"),
        (row(answers=[TWO[0], {"model": "m"}]), "Answer 2 has no text"),
        (row(answers=[TWO[0], {"text": "m"}]), "does not say which model"),
        (row(answers=[TWO[0], {"model": "m", "text": "x", "colour": 1}]), "“colour”"),
        (row(answers=[TWO[0], TWO[0]]), "same text by the same model"),
        (row(answers=[*TWO, {"model": "m", "text": "x"}], votes=[vote()]), "give their ranks"),
        (row(metadata=[1]), "metadata is not an object"),
        (row(metadata={"a": "x" * 300_000}), "larger than 256 KiB"),
        (row(split="sometimes"), "The split is"),
    ],
)
def test_what_cannot_be_used_says_why(path: Path, line: Any, said: str) -> None:
    assert said in reason(path, line)


def test_lines_are_counted_as_an_editor_counts_them(path: Path) -> None:
    rows = read(path, row(1), "", "{", "   ", row(2))
    assert [each.line for each in rows] == [1, 3, 5]


@given(prompt=ODD, first=ODD, second=ODD, comment=ODD)
def test_text_comes_out_as_it_went_in(
    tmp_path_factory: pytest.TempPathFactory, prompt: str, first: str, second: str, comment: str
) -> None:
    line = row(
        prompt=f"?{prompt}", answers=[{"model": "One", "text": first}, {"model": "Two", "text": second}],
        votes=[vote(comment=comment)],
    )  # fmt: skip
    for ascii_only in (True, False):
        path = tmp_path_factory.mktemp("odd") / "v.jsonl"
        path.write_bytes(json.dumps(line, ensure_ascii=ascii_only).encode() + b"\r\n")
        [found] = profile.read(table_rows(path, "jsonl"), datetime.now(UTC))
        assert isinstance(found, Judged), found
        assert found.prompt.messages[-1]["content"] == f"?{prompt}"
        assert [answer.text for answer in found.answers] == [first, second]
        assert found.votes[0].comment == comment


@pytest.mark.parametrize(
    ("content", "filename", "said"),
    [
        (b"", "v.jsonl", "The file is empty"),
        (b"\xef\xbb\xbf \n", "v.jsonl", "The file is empty"),
        (b"\x1f\x8b\x08\x00aaaa", "v.jsonl", "gzip archive"),
        (b"PK\x03\x04aaaa", "v.jsonl", "zip archive"),
        ("{}".encode("utf-16"), "v.jsonl", "UTF-16"),
        (b"<!doctype html><html>", "v.jsonl", "web page"),
        (b"colour,answer\na,b\n", "v.csv", "The columns: colour, answer"),
        (b'{"prompt": "a"}\n', "v.csv", "the file holds JSON Lines"),
        (b'{"prompt": "a", "text": "b"}\n', "v.jsonl", "The columns: prompt, text"),
        (b'[{"prompt": "a"}]', "v.jsonl", "holds a JSON array"),
        (b"\x7fELF" + b"\x00" * 50, "v.jsonl", "a program"),
    ],
)
def test_a_file_of_something_else_is_refused_by_what_it_is(
    path: Path, content: bytes, filename: str, said: str
) -> None:
    path.write_bytes(content)
    with pytest.raises(UnreadableFile) as refused:
        recognise(path, filename)
    assert said in refused.value.sentence
