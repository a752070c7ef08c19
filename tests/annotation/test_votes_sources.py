"""Files of other projects: each recognised by its content, and read into what its people said. The fixtures are our own."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotation.votes.formats import FORMATS, Unrecognised, read, recognise
from annotation.votes.judged import Judged, Row
from annotation.votes.sources import trl
from core.reading import MAX_LINE_BYTES, BadRow, UnreadableFile

ODD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=40)
ASKED = [{"role": "user", "content": "Why is the sky blue?"}]
LONGER = [*ASKED, {"role": "assistant", "content": "Light."}, {"role": "user", "content": "More?"}]


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows_of(path: Path, *rows: Mapping[str, Any]) -> tuple[str, list[Row]]:
    found = recognise(write(path, rows), path.name)
    return found.name, list(read(path, found.name))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "v.jsonl"


def one(path: Path, row: Mapping[str, Any], name: str) -> Judged:
    found, rows = rows_of(path, row)
    assert found == name
    [judged] = rows
    assert isinstance(judged, Judged), judged
    return judged


def told(judged: Judged) -> tuple[Any, ...]:
    """(the last turn, texts of the answers, (verdict, ranks) of the votes)"""
    texts = tuple(answer.text for answer in judged.answers)
    return judged.prompt.messages[-1]["content"], texts, [(vote.verdict, vote.ranks) for vote in judged.votes]


BETTER = ("Why is the sky blue?", ("good", "bad"), [("ranked", (1, 2))])
GOOD_ALONE = ("Why is the sky blue?", ("good",), [("both_good", (1,))])
BAD_ALONE = ("Why is the sky blue?", ("bad",), [("all_bad", (1,))])
UNJUDGED = ("Why is the sky blue?", ("good",), [])
BATTLE = {
    "question_id": "q1", "model_a": "One", "model_b": "Two", "winner": "model_b", "judge": "arena_user_9", "turn": 1,
    "conversation_a": [*ASKED, *said("bad")], "conversation_b": [*ASKED, *said("good")], "anony": True, "language": "English",
    "tstamp": 1682351591.1322,
}  # fmt: skip
GPT = {"from": "gpt", "value": "good"}
HUMAN = {"from": "human", "value": "Why is the sky blue?"}
HELPFUL = {"helpfulness": 4, "correctness": 4, "coherence": 3, "complexity": 1, "verbosity": 0}


@pytest.mark.parametrize(
    ("name", "row", "expected"),
    [
        ("trl", {"prompt": "Why is the sky blue?", "chosen": "good", "rejected": "bad"}, BETTER),
        ("trl", {"prompt": ASKED, "chosen": said("good"), "rejected": said("bad")}, BETTER),
        ("trl", {"chosen": [*ASKED, *said("good")], "rejected": [*ASKED, *said("bad")]}, BETTER),
        ("trl", {"chosen": "The sky is blue.", "rejected": "The sky is green."},
         ("The sky is", (" blue.", " green."), [("ranked", (1, 2))])),
        ("trl", {"prompt": LONGER, "chosen": said("good"), "rejected": said("bad")}, ("More?", *BETTER[1:])),
        ("trl-unpaired", {"prompt": "Why is the sky blue?", "completion": "good", "label": True}, GOOD_ALONE),
        ("trl-unpaired", {"prompt": ASKED, "completion": said("bad"), "label": False}, BAD_ALONE),
        ("trl-answers", {"prompt": "Why is the sky blue?", "completion": "good"}, UNJUDGED),
        ("trl-answers", {"messages": [*ASKED, *said("good")]}, UNJUDGED),
        ("hh", {"chosen": "\n\nHuman: Why is the sky blue?\n\nAssistant: good",
                "rejected": "\n\nHuman: Why is the sky blue?\n\nAssistant: bad"}, BETTER),
        ("openai", {"input": {"messages": ASKED, "tools": [], "parallel_tool_calls": True}, "preferred_output": said("good"),
                    "non_preferred_output": said("bad")}, BETTER),
        ("ultrafeedback", {"prompt": "Why is the sky blue?", "prompt_id": "p", "chosen": [*ASKED, *said("good")],
                           "rejected": [*ASKED, *said("bad")], "messages": [*ASKED, *said("good")], "score_chosen": 9.0,
                           "score_rejected": 4.0}, BETTER),
        ("helpsteer3", {"domain": "general", "language": "english", "context": ASKED, "response1": "bad", "response2": "good",
                        "overall_preference": 2, "individual_preference": [{"score": 3, "reasoning": "r"}, {"score": 0,
                        "reasoning": ""}]},
         ("Why is the sky blue?", ("bad", "good"), [("ranked", (2, 1)), ("tie", (1, 1))])),
        ("helpsteer2", {"split": "train", "prompt": "Why is the sky blue?", "response_1": "good", "response_2": "bad",
                        "preference_strength": -2, "preference_statement": "s", "preference_elaboration": "e",
                        "three_most_similar_preferences": [{"statement": "s", "elaboration": "e", "strength": -1}],
                        "all_preferences_unprocessed": [{"strength": -1, "justification": "j"}, {"strength": 2,
                        "justification": "k"}]},
         ("Why is the sky blue?", ("good", "bad"), [("ranked", (1, 2)), ("ranked", (2, 1))])),
        ("helpsteer2-ratings", {"prompt": "Why is the sky blue?", "response": "good", **HELPFUL},
         ("Why is the sky blue?", ("good",), [("tie", (1,))])),
        ("arena", BATTLE, ("Why is the sky blue?", ("bad", "good"), [("ranked", (2, 1))])),
        ("arena", {"id": 7, "model_a": "One", "model_b": "Two", "prompt": '["Why is the sky blue?"]', "response_a": '["good"]',
                   "response_b": '["bad"]', "winner_model_a": 1, "winner_model_b": 0, "winner_tie": 0}, BETTER),
        ("llamafactory", {"instruction": "Why is the sky", "input": "blue?", "chosen": "good", "rejected": "bad"},
         ("Why is the sky\nblue?", *BETTER[1:])),
        ("llamafactory", {"conversations": [HUMAN], "chosen": GPT, "rejected": {"from": "gpt", "value": "bad"}}, BETTER),
        ("llamafactory-kto", {"instruction": "Why is the sky blue?", "input": "", "output": "good", "kto_tag": True}, GOOD_ALONE),
        ("llamafactory-kto", {"conversations": [HUMAN, {**GPT, "value": "bad"}], "kto_tag": False}, BAD_ALONE),
        ("llamafactory-answers", {"instruction": "Why is the sky blue?", "input": "", "output": "good", "history": []}, UNJUDGED),
        ("llamafactory-answers", {"conversations": [HUMAN, GPT]}, UNJUDGED),
        ("rankings", {"prompt": "Why is the sky blue?", "responses": ["x", "y", "z"], "ranks": [2, 1, 2], "annotator": "7"},
         ("Why is the sky blue?", ("x", "y", "z"), [("ranked", (2, 1, 2))])),
        ("rankings", {"prompt": "Why is the sky blue?", "answers": [{"answer": "x", "rank": 2, "model": "m"},
                                                                     {"answer": "y", "rank": 1.0, "model": "n"}]},
         ("Why is the sky blue?", ("x", "y"), [("ranked", (2, 1))])),
        ("label-studio", {"id": 3, "data": {"prompt": "Why is the sky blue?", "answer1": "good", "answer2": "bad"},
                          "annotations": [{"id": 5, "completed_by": 2, "created_at": "2026-01-02T03:04:05Z", "lead_time": 4.5,
                                           "was_cancelled": False, "result": [{"id": "x", "from_name": "pw", "to_name": "answer1",
                                           "type": "pairwise", "value": {"selected": "left"}}]},
                                          {"id": 6, "was_cancelled": True, "result": []}]}, BETTER),
        ("label-studio", {"id": 3, "data": {"prompt": "Why is the sky blue?", "items": [{"id": "i1", "body": "x"},
                          {"id": "i2", "body": "y"}, {"id": "i3", "body": "z"}]},
                          "annotations": [{"id": 5, "completed_by": {"id": 2, "email": "a@b.c"}, "result": [{"type": "ranker",
                                           "value": {"ranker": {"rank": ["i3", "i1", "i2"], "_": []}}}]}]},
         ("Why is the sky blue?", ("x", "y", "z"), [("ranked", (2, 3, 1))])),
        ("argilla", {"id": "r1", "fields": {"prompt": "Why is the sky blue?", "response-1": "good", "response-2": "bad"},
                     "metadata": {"topic": "light"}, "suggestions": {}, "vectors": {},
                     "responses": {"ranking": [{"value": ["response-1", "response-2"], "user_id": "u1"}],
                                   "why": [{"value": "clear", "user_id": "u1"}]}, "_server_id": "s"}, BETTER),
        ("argilla-flat", {"id": "r1", "prompt": "Why is the sky blue?", "response_a": "good", "response_b": "bad",
                          "label.responses": ["response_a", "tie"], "label.responses.users": ["u1", "u2"],
                          "label.responses.status": ["submitted", "submitted"], "label.suggestion": None},
         ("Why is the sky blue?", ("good", "bad"), [("ranked", (1, 2)), ("tie", (1, 1))])),
    ],
)  # fmt: skip
def test_each_format_is_recognised_and_read(path: Path, name: str, row: dict[str, Any], expected: Any) -> None:
    assert told(one(path, row, name)) == expected


def test_every_format_has_a_row_above() -> None:
    marks = test_each_format_is_recognised_and_read.pytestmark  # type: ignore[attr-defined]
    assert {name for name, *_ in marks[0].args[1]} == {each.name for each in FORMATS} - {"votes"}


def test_what_a_source_does_not_say_stays_unknown(path: Path) -> None:
    judged = one(path, {"prompt": "p", "chosen": "good", "rejected": "bad"}, "trl")
    [vote] = judged.votes
    assert (vote.annotator, vote.order, vote.at, vote.strength) == ("", (), None, None)
    assert {answer.model for answer in judged.answers} == {"unknown"}


def test_what_a_source_says_is_kept(path: Path) -> None:
    battle = one(path, BATTLE, "arena")
    [vote] = battle.votes
    assert (vote.annotator, vote.order, vote.id) == ("arena_user_9", (0, 1), "q1")
    assert vote.at is not None and vote.at.isoformat() == "2023-04-24T15:53:11.132200+00:00"
    assert [answer.model for answer in battle.answers] == ["One", "Two"]
    assert battle.prompt.metadata == {"language": "English"}
    task = {
        "id": 3, "data": {"prompt": "p", "answer1": "x", "answer2": "y", "answer1_model": "One"},
        "annotations": [{"id": 5, "completed_by": {"id": 2, "email": "a@b.c"}, "created_at": "2026-01-02T03:04:05Z",
                         "lead_time": 4.5, "result": [{"type": "pairwise", "value": {"selected": "right"}}]}],
    }  # fmt: skip
    studio = one(path, task, "label-studio")
    [vote] = studio.votes
    assert (vote.annotator, vote.order, vote.seconds, vote.id, vote.ranks) == ("2", (0, 1), 4.5, "5", (2, 1))
    assert [answer.model for answer in studio.answers] == ["One", "unknown"]


@pytest.mark.parametrize(
    ("margin", "strength"),
    [(1.0, 12), (0.5, 6), (1 / 3, 4), (0.25, 3), (0, None), (0.7, None), (3.0, None), (None, None)],
)
def test_a_margin_is_a_strength_where_it_is_a_share_of_a_scale(path: Path, margin: Any, strength: int | None) -> None:
    judged = one(path, {"prompt": "p", "chosen": "x", "rejected": "y", "margin": margin}, "trl")
    assert judged.votes[0].strength == strength
    kept = strength is None and margin is not None
    assert judged.prompt.metadata == ({"margin": margin} if kept else {})


def test_responses_of_one_prompt_that_follow_each_other_are_one_task(path: Path) -> None:
    rows = [{"prompt": "p", "response": text, **HELPFUL, "helpfulness": level} for text, level in (("x", 1), ("y", 3))]
    name, found = rows_of(path, *rows, {"prompt": "q", "response": "z", **HELPFUL}, {"prompt": "q", "response": "z2"})
    assert name == "helpsteer2-ratings"
    first, second = found
    assert isinstance(first, Judged) and isinstance(second, BadRow) and "no helpfulness" in second.reason
    assert first.votes[0].ranks == (2, 1)
    assert ("helpfulness", 0, 2) in first.votes[0].scores and ("verbosity", 1, 1) in first.votes[0].scores


def test_a_transcript_of_several_turns_is_a_conversation() -> None:
    turns = trl.transcript("\n\nHuman: a\n\nAssistant: b\n\nHuman:  c\n\nAssistant:")
    assert [(turn["role"], turn["content"]) for turn in turns] == [
        ("user", "a"), ("assistant", "b"), ("user", " c"), ("assistant", ""),
    ]  # fmt: skip


@pytest.mark.parametrize("gap", ["", " "])
@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("trl", {"chosen": "good", "rejected": "bad"}),
        ("trl-unpaired", {"completion": "good", "label": True}),
        ("trl-answers", {"completion": "good"}),
        ("rankings", {"answers": ["good", "bad"], "ranks": [1, 2]}),
        ("rankings", {"answers": [{"answer": "good", "rank": 1.0}, {"answer": "bad", "rank": 2.0}]}),
    ],
)
def test_a_prompt_that_is_a_transcript_is_a_conversation(path: Path, name: str, row: dict[str, Any], gap: str) -> None:
    judged = one(path, {"prompt": f"\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:{gap}", **row}, name)
    assert [(turn["role"], turn["content"]) for turn in judged.prompt.messages] == [
        ("user", "a"), ("assistant", "b"), ("user", "c"),
    ]  # fmt: skip
    assert judged.answers[0].text == "good"


def test_a_transcript_in_a_column_that_a_person_names_is_a_conversation(path: Path) -> None:
    row = {"Q": "\n\nHuman: a\n\nAssistant:", "good": " x", "bad": " y"}
    [judged] = read(write(path, [row]), "mapped", {"prompt": "Q", "chosen": "good", "rejected": "bad"})
    assert isinstance(judged, Judged) and told(judged) == ("a", ("x", "y"), [("ranked", (1, 2))])


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([{"chosen": [*ASKED, *said("x")], "rejected": [*LONGER, *said("y")]}], "part before their last answers"),
        ([{"prompt": "p", "chosen": ASKED, "rejected": said("y")}], "is the user's, not the assistant's"),
        ([{"prompt": "p", "chosen": 3, "rejected": "y"}], "neither text nor one message"),
        ([{"chosen": "abc", "rejected": "xyz"}], "no beginning in common"),
        ([{"prompt": "p", "chosen": "x", "rejected": "y", "margin": "big"}], "margin is not a number"),
        ([{"prompt": "p", "completion": "x", "label": "perhaps"}], "neither true nor false"),
        ([{**BATTLE, "winner": "nobody"}], "The winner is model_a"),
        ([{**BATTLE, "tstamp": "soon"}], "neither ISO 8601"),
        ([{"input": {"messages": ASKED, "tools": [{"a": 1}]}, "preferred_output": said("x"), "non_preferred_output": said("y")}],
         "uses tools"),
        ([{"prompt": "p", "responses": ["x", "y"], "ranks": [1]}], "not a list of 2 numbers"),
        ([{"context": ASKED, "response1": "x", "response2": "y", "overall_preference": 7}], "from -3 to 3"),
        ([{"data": {"question": "p"}, "annotations": []}], "no answers"),
        ([{"data": {"prompt": "p", "answer1": "x", "answer2": "y"},
           "annotations": [{"result": [{"type": "pairwise", "value": {"selected": "up"}}]}]}], "left or right"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_used_says_why(path: Path, rows: list[dict[str, Any]], reason: str) -> None:
    _, found = rows_of(path, *rows)
    assert isinstance(found[0], BadRow) and reason in found[0].reason, found


def test_prompts_alone_are_no_votes(path: Path) -> None:
    with pytest.raises(Unrecognised, match="The columns: prompt, tags") as refused:
        recognise(write(path, [{"prompt": "p", "tags": ["a"]}]))
    assert refused.value.columns == ["prompt", "tags"]


HEADER, LONG = b"prompt,chosen,rejected\n", b"x" * (MAX_LINE_BYTES + 1)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("v.jsonl", b'{"prompt": "' + LONG + b'"}\n', "The first row cannot be read. Line 1: The line is longer than 4 MiB."),
        ("v.jsonl", b'{"prompt": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", "Line 1: The row is nested more than 40 levels"),
        ("v.jsonl", b"[" * 100_000 + b"]" * 100_000, "Line 1: The row is nested more than 40 levels deep."),
        ("v.json", b"[" * 100_000 + b"]" * 100_000, "Line 1: The row is nested more than 40 levels deep."),
        ("v.jsonl", b'{"prompt": "\\ud800"}\n{"prompt": }\n', "None of the first 2 rows can be read. Line 1: The text holds half"),
        ("v.csv", HEADER + LONG + b",a,b\n", "Line 2: A line of it is longer than 4 MiB."),
        ("v.csv", HEADER + b'"never closed,a,b\nq,c,d\n', "Line 2: A quotation mark is never closed."),
        ("v.csv", HEADER + "café,a,b\n".encode("latin-1"), "Line 2: The row is not UTF-8."),
        ("v.csv", HEADER, "The table has no rows."),
    ],
)  # fmt: skip
def test_a_file_whose_first_rows_cannot_be_read_says_why(path: Path, name: str, content: bytes, reason: str) -> None:
    path.write_bytes(content)
    with pytest.raises(UnreadableFile) as refused:
        recognise(path, name)
    assert reason in refused.value.sentence


@pytest.mark.parametrize(
    ("cell", "reason"), [(b"\xff", "A cell holds bytes, not text."), (LONG.decode(), "The row is longer than 4 MiB.")]
)
def test_parquet_whose_first_row_cannot_be_read_says_why(path: Path, cell: bytes | str, reason: str) -> None:
    pq.write_table(pa.table({"prompt": [cell], "chosen": ["x"], "rejected": ["y"]}), path)
    with pytest.raises(UnreadableFile) as refused:
        recognise(path)
    assert refused.value.sentence == f"The first row cannot be read. Line 1: {reason}"


def test_a_form_that_is_not_known_tells_of_bad_rows_too(path: Path) -> None:
    path.write_text('{"foo": 1}\n{"foo": }\n')
    with pytest.raises(Unrecognised, match=r"The columns: foo\. Line 2 cannot be read: The line is not JSON"):
        recognise(path)


@given(prompt=ODD.filter(str.strip), better=ODD, worse=ODD)
def test_odd_text_comes_out_as_it_went_in_of_every_container(
    tmp_path_factory: pytest.TempPathFactory, prompt: str, better: str, worse: str
) -> None:
    folder = tmp_path_factory.mktemp("odd")
    row = {"prompt": prompt, "chosen": better, "rejected": worse}
    write(folder / "v.jsonl", [row])
    (folder / "v.json").write_text(json.dumps([row], indent=2))
    pq.write_table(pa.Table.from_pylist([row]), folder / "v.parquet")
    with pa.CompressedOutputStream(str(folder / "v.jsonl.zst"), "zstd") as packed:
        packed.write(json.dumps(row).encode() + b"\n")
    out = io.StringIO(newline="")
    csv.writer(out).writerows([list(row), list(row.values())])
    (folder / "v.csv").write_bytes(out.getvalue().encode())
    for path in sorted(folder.iterdir()):
        found = recognise(path, path.name)
        [judged] = read(path, found.name)
        assert isinstance(judged, Judged), (path, judged)
        assert told(judged) == (prompt, (better, worse), [("ranked", (1, 2))]), path


def test_cells_of_csv_in_named_columns_hold_messages_as_json_or_text(tmp_path: Path) -> None:
    out = io.StringIO(newline="")
    texts = ['[{"name": "Ana"}]', json.dumps(said("[bad]")[0])]
    csv.writer(out).writerows([["dialog", "better", "worse", "extra"], [json.dumps(LONGER), *texts, '[{"role": "x"}]']])
    (tmp_path / "v.csv").write_bytes(out.getvalue().encode())
    [judged] = read(tmp_path / "v.csv", "mapped", {"prompt": "dialog", "chosen": "better", "rejected": "worse"})
    assert isinstance(judged, Judged) and told(judged) == (
        "More?", ('[{"name": "Ana"}]', "[bad]"), [("ranked", (1, 2))],
    )  # fmt: skip
    assert len(judged.prompt.messages) == 3
    assert judged.prompt.metadata == {"extra": '[{"role": "x"}]'}, "no prompt and no answer: the text stays"


def test_cells_of_csv_hold_messages_as_json(tmp_path: Path) -> None:
    out = io.StringIO(newline="")
    row = {"prompt": json.dumps(ASKED), "chosen": json.dumps(said("good")), "rejected": json.dumps(said("[bad]"))}
    csv.writer(out).writerows([list(row), list(row.values())])
    (tmp_path / "v.csv").write_bytes(out.getvalue().encode())
    [judged] = read(tmp_path / "v.csv", recognise(tmp_path / "v.csv", "v.csv").name)
    assert isinstance(judged, Judged) and told(judged) == (
        "Why is the sky blue?",
        ("good", "[bad]"),
        [("ranked", (1, 2))],
    )
