"""What people said in Argilla and Label Studio: options by many names, ratings, two questions at once; nothing goes without a word."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotation.votes.judged import Judged, Vote
from annotation.votes.sources import argilla, label_studio
from annotation.votes.sources.heard import counts_against, place_of, rated_by
from core.reading import Unusable

NOW = datetime(2026, 2, 1, tzinfo=UTC)
LETTERS, NUMBERS = ("response_a", "response_b"), ("response1", "response2")


def record(names: tuple[str, ...] = LETTERS, **responses: Any) -> Judged:
    """An Argilla record where Ana (and after her Ben) responded."""
    said = {
        question: [{"value": value, "user_id": who} for who, value in zip(("ana", "ben"), _list(given), strict=False)]
        for question, given in responses.items()
    }
    fields = {"prompt": "Why?", **{name: f"text of {name}" for name in names}}
    return argilla.nested({"id": "r", "fields": fields, "responses": said}, 1, NOW)


def _list(given: Any) -> list[Any]:
    return given if isinstance(given, list) else [given]


def task(*results: Mapping[str, Any], more: Any = ()) -> Judged:
    """A Label Studio task with one annotation of these results."""
    data = {"prompt": "Why?", "answer1": "x", "answer2": "y"}
    annotations = [{"id": 5, "completed_by": 1, "result": list(results)}, *more]
    return label_studio.read({"id": 1, "data": data, "annotations": annotations}, 1, NOW)


def result(kind: str, name: str, to: str = "answer1,answer2", **value: Any) -> dict[str, Any]:
    return {"type": kind, "from_name": name, "to_name": to, "value": value}


def pairwise(selected: str, name: str = "pw", to: str = "answer1,answer2") -> dict[str, Any]:
    return result("pairwise", name, to, selected=selected)


def only(judged: Judged) -> Vote:
    [vote] = judged.votes
    return vote


# ---- names of answers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [LETTERS, NUMBERS, ("Answer-A", "Answer-B"), ("output_0", "output_1")])
@pytest.mark.parametrize(
    ("first", "second"), [("A", "B"), ("a", "b"), ("first", "Second"), ("left", "right"), ("Response A", "option b"),
                          ("A is better", "B is better")],
)  # fmt: skip
def test_an_option_names_an_answer_in_many_ways(names: tuple[str, str], first: str, second: str) -> None:
    assert (place_of(first, names), place_of(second, names)) == (0, 1)
    assert (place_of(names[0].upper(), names), place_of(names[1], names)) == (0, 1)


@pytest.mark.parametrize(
    ("word", "names", "place"),
    [
        ("1", NUMBERS, 0), ("2", LETTERS, 1), ("1", ("output_0", "output_1"), 1), ("0", ("output_0", "output_1"), 0),
        ("2", ("output_0", "output_1"), None), ("c", LETTERS, None), ("", LETTERS, None), ("better", LETTERS, None),
        ("first", ("response_b", "response_a"), None), ("a", ("response_b", "response_a"), 1),
        ("a is slightly better", LETTERS, None), ("a", ("response",), None), ("response", ("response",), 0),
    ],
)  # fmt: skip
def test_only_a_clear_name_is_one(word: str, names: tuple[str, ...], place: int | None) -> None:
    assert place_of(word, names) == place


@given(st.text(max_size=80))
def test_any_text_names_an_answer_or_none(word: str) -> None:
    assert place_of(word, LETTERS) in (0, 1, None)
    criterion, place = rated_by(word, LETTERS)
    assert criterion and place in (0, 1, None)


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("rating_response_a", ("rating", 0)), ("Response-B quality", ("quality", 1)), ("response_a", ("rating", 0)),
        ("helpful_b", ("helpful", 1)), ("helpful_answer_b", ("helpful", 1)), ("helpful", ("helpful", None)),
        ("question_a", ("question_a", None)), ("helpful_1", ("helpful_1", None)),
    ],
)  # fmt: skip
def test_a_question_of_ratings_names_its_answer(question: str, found: tuple[str, int | None]) -> None:
    assert rated_by(question, LETTERS) == found


# ---- Argilla ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "options"), [(LETTERS, ["A", "B"]), (NUMBERS, ["1", "2"]), (LETTERS, ["first", "tie"])]
)
def test_options_by_other_names_are_votes(names: tuple[str, ...], options: list[str]) -> None:
    ana, ben = record(names, preference=options).votes
    assert (ana.verdict, ana.ranks, ana.comment) == ("ranked", (1, 2), "")
    assert (ben.verdict, ben.ranks) == (("tie", (1, 1)) if options[1] == "tie" else ("ranked", (2, 1)))


def test_ratings_of_each_answer_are_scores_and_say_which_is_better_where_nobody_chooses() -> None:
    rated = {"helpful_response_a": 2, "helpful_response_b": 4}
    vote = only(record(**rated))
    assert (vote.verdict, vote.ranks, vote.scores) == ("ranked", (2, 1), (("helpful", 0, 2), ("helpful", 1, 4)))
    vote = only(record(**rated, preference="A", safe_a=1))
    assert (vote.ranks, vote.scores[2:]) == ((1, 2), (("safe", 0, 1),)), "what people chose is theirs to say"
    assert only(record(helpful_a=3, helpful_b=3)).verdict == "tie"


def test_what_is_about_no_answer_is_kept_with_the_vote() -> None:
    said = {"preference": "A", "confidence": 4, "tone": "dry", "why": [["short", "clear"]]}
    vote = only(record(**said))
    assert (vote.comment, vote.reasons, vote.scores) == ("confidence: 4\n\ndry", ("short", "clear"), ())


@pytest.mark.parametrize(
    ("responses", "reason"),
    [
        ({"helpful": "A", "safe": "B"}, r"answers two questions by choosing \(helpful, safe\): keep one of them"),
        ({"helpful": ["A", None], "safe": [None, "B"]}, "answers two questions"),
        ({"helpful": "A", "safe": [["response_b", "response_a"]]}, "answers two questions"),
        ({"preference": "C"}, "no vote in it that is understood: “C”"),
        ({"preference": ["A", ""], "why": [None, "so"]}, "no vote in it that is understood: “so”"),
        ({"quality": 4}, "no vote in it that is understood: “quality: 4”"),
        ({"helpful_a": 4}, "helpful does not rate every answer"),
        ({"helpful_a": 4, "helpful_b": 2, "safe_a": 1, "safe_b": 3}, "rated by helpful, safe, and nothing says"),
        ({"preference": "A", "helpful_b": 0}, "helpful_b is not a whole number from 1 to 10"),
        ({"preference": [["response_a"]]}, "does not order every answer once"),
        ({"preference": [["response_a", "response_a", "response_b"]]}, "does not order every answer once"),
        ({"preference": "A", "spans": [[{"label": "x", "start": 0, "end": 3}]]}, "of a kind that is not understood"),
        ({"preference": True}, "of a kind that is not understood"),
    ],
)  # fmt: skip
def test_a_response_that_is_no_vote_or_two_is_told(responses: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unusable, match=reason):
        record(**responses)


@pytest.mark.parametrize(
    ("ranks", "expected"),
    [
        ((2, 1), (2, 1)), ((2.0, 1.0), (2, 1)), (("2", "1"), (2, 1)), (("10", "9"), (2, 1)), ((2, "1"), (2, 1)),
        ((1.0, 1), (1, 1)), ((1, 0), (2, 1)), ((None, None), (1, 2)), (("", None), (1, 2)),
    ],
)  # fmt: skip
def test_ranks_are_whole_numbers_however_they_are_written(ranks: tuple[Any, Any], expected: tuple[int, int]) -> None:
    order = [{"value": name, "rank": rank} for name, rank in zip(LETTERS, ranks, strict=True)]
    assert only(record(order=[order])).ranks == expected
    assert only(record(order=[order[::-1]])).ranks == (expected if ranks[0] else (2, 1))
    assert only(record(order=[[{"value": name} for name in LETTERS[::-1]]])).ranks == (2, 1)


@pytest.mark.parametrize(
    "rank", [1.5, True, "first", "-1", "1.5", -1, float("nan"), float("inf"), "²", "1" * 5000, [1]]
)
def test_a_rank_that_is_no_whole_number_is_told(rank: Any) -> None:
    order = [{"value": "response_a", "rank": 2}, {"value": "response_b", "rank": rank}]
    with pytest.raises(Unusable, match="gives an answer a rank that is not a whole number"):
        record(order=[order])


@pytest.mark.parametrize("last", [{"value": "response_b", "rank": None}, {"value": "response_b"}, "response_b"])
def test_a_rank_that_is_missing_among_others_is_told(last: Any) -> None:
    with pytest.raises(Unusable, match="gives some answers a rank, and others none"):
        record(order=[[{"value": "response_a", "rank": 2}, last]])


@pytest.mark.parametrize(
    "responses",
    [
        {"which_is_worse": "A"}, {"Worst answer": "response_b"}, {"which_is_worse": "neither"}, {"better": "A", "worse": "B"},
        {"rejected": "A"}, {"least_helpful": "B"},
        {"worst_to_best": [["response_a", "response_b"]]},
    ],
)  # fmt: skip
def test_who_says_which_answer_is_worse_does_not_prefer_it(responses: dict[str, Any]) -> None:
    with pytest.raises(Unusable, match="asks which answer is worse: it is not taken for the better one"):
        record(**responses)


def test_ratings_of_how_much_worse_an_answer_is_do_not_prefer_it() -> None:
    rated = {"worse_response_a": 5, "worse_response_b": 1}
    with pytest.raises(Unusable, match="rated by worse alone, which does not say which of them is better"):
        record(**rated)
    vote = only(record(**rated, preference="B", worst="it lies"))
    assert (vote.ranks, len(vote.scores), vote.comment) == ((2, 1), 2, "it lies"), "what chooses no answer is kept"


@pytest.mark.parametrize(
    "question",
    ["more_harmful", "most_harmful_response", "which_is_more_toxic", "less_helpful", "bad_response", "inferior", "moreHarmful",
     "Which is wrong?", "unsafe", "more offensive"],
)  # fmt: skip
def test_a_label_that_counts_against_an_answer_does_not_prefer_it(question: str) -> None:
    with pytest.raises(Unusable, match="asks which answer is worse: it is not taken for the better one"):
        record(**{question: "A"})
    with pytest.raises(Unusable, match="asks which answer is worse"):
        task(pairwise("left", question))


@pytest.mark.parametrize(
    "criterion",
    ["harmfulness", "toxicity", "bias", "error_count", "badness", "errorCount", "hallucinations", "severity", "risk", "spam",
     "rudeness", "false_claims", "mistakes", "problems", "more_biased", "a_very_long_name_of_a_criterion_about_harm"],
)  # fmt: skip
def test_ratings_that_count_against_an_answer_prefer_none(criterion: str) -> None:
    rated = {f"{criterion}_response_a": 5, f"{criterion}_response_b": 1}
    with pytest.raises(Unusable, match="alone, which does not say which of them is better"):
        record(**rated)
    vote = only(record(**rated, preference="B"))
    assert (vote.ranks, [level for *_, level in vote.scores]) == ((2, 1), [5, 1]), "beside a choice they are scores"


@pytest.mark.parametrize(
    "name",
    ["harmless", "harmlessness", "non_toxic", "nontoxic", "un-toxic", "unbiased", "helpful", "preference", "lessons", "badge",
     "harmony", "flawless", "problem_solving", "several", "quality", "better", "safe"],
)  # fmt: skip
def test_other_names_say_that_more_is_better(name: str) -> None:
    assert not counts_against(name)
    assert only(record(**{f"{name}_response_a": 5, f"{name}_response_b": 1})).ranks == (1, 2)
    assert only(record(**{name: "A"})).ranks == (1, 2)


def test_answers_of_bad_names_are_rated_all_the_same() -> None:
    names = ("good_answer_a", "bad_answer_b")
    assert only(record(names, helpful_good_answer_a=5, helpful_bad_answer_b=1)).ranks == (1, 2)


def test_texts_and_labels_keep_which_answer_they_are_about() -> None:
    vote = only(record(preference="A", feedback_response_a="nice", feedback_response_b="awful"))
    assert vote.comment == "feedback_response_a: nice\n\nfeedback_response_b: awful"
    assert only(record(preference="A", feedback_b="awful")).comment == "feedback_b: awful"
    assert only(record(preference="A", why="so", note="odd")).comment == "why: so\n\nnote: odd"
    vote = only(record(preference="A", issues_response_a=[["wrong"]], why="so"))
    assert (vote.reasons, vote.comment) == (("issues_response_a: wrong",), "so")
    vote = only(record(preference="A", style=[["dry"]], facts=[["old", "few"]]))
    assert vote.reasons == ("style: dry", "facts: old", "facts: few")


def test_a_reason_that_is_too_long_with_its_name_is_a_part_of_the_comment() -> None:
    fits, long = "x" * (200 - len("issues_response_a: ")), "y" * 200
    vote = only(record(preference="A", issues_response_a=[[fits, long]]))
    assert (vote.reasons, vote.comment) == ((f"issues_response_a: {fits}",), f"issues_response_a: {long}")
    assert only(record(preference="A", issues=[[long]])).reasons == (long,)
    with pytest.raises(Unusable, match="at most 200 characters"):
        record(preference="A", issues=[[long + "y"]])


@pytest.mark.parametrize(
    ("status", "stands"),
    [("submitted", True), ("SUBMITTED", True), ("ResponseStatus.submitted", True), ("ResponseStatus.SUBMITTED", True), (None, True),
     ("Draft", False), ("ResponseStatus.discarded", False), ("", False), (1, False)],
)  # fmt: skip
def test_a_response_counts_where_it_is_submitted(status: Any, stands: bool) -> None:
    row = {"prompt": "Why?", "response_a": "x", "response_b": "y", "p.responses": ["A"], "p.responses.status": [status]}
    assert len(argilla.flat(row, 1, NOW).votes) == stands


def test_an_order_from_best_to_worst_is_one() -> None:
    assert only(record(from_best_to_worst=[["response_b", "response_a"]])).ranks == (2, 1)


def test_a_record_without_responses_holds_answers_that_nobody_has_judged() -> None:
    assert record().votes == () and record(preference=[None, ""]).votes == ()
    drafts = {"preference": [{"value": "A", "user_id": "ana", "status": "draft"}]}
    fields = {"prompt": "Why?", "response_a": "x", "response_b": "y"}
    assert argilla.nested({"fields": fields, "responses": drafts}, 1, NOW).votes == ()


def test_flattened_records_say_the_same_in_cells_of_csv() -> None:
    row = {
        "prompt": "Why?",
        "response_a": "x",
        "response_b": "y",
        "p.responses": '["B"]',
        "p.responses.users": '["ana"]',
    }
    vote = only(argilla.flat(row, 1, NOW))
    assert (vote.annotator, vote.ranks) == ("ana", (2, 1))
    with pytest.raises(Unusable, match=r"The column p\.responses is not a list"):
        argilla.flat({**row, "p.responses": "B"}, 1, NOW)
    with pytest.raises(Unusable, match="answers p twice"):
        argilla.flat({**row, "p.responses": ["A", "B"], "p.responses.users": ["ana", "ana"]}, 1, NOW)
    nameless = argilla.flat({**row, "p.responses": ["A", "B"], "p.responses.users": [None, None]}, 1, NOW)
    assert [vote.annotator for vote in nameless.votes] == ["", ""]


# ---- Label Studio ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("to", "order"),
    [
        ("answer1,answer2", (0, 1)),
        ("answer2,answer1", (1, 0)),
        ("Answer2, other", (1, 0)),
        ("txt1,txt2", (0, 1)),
        ("", (0, 1)),
    ],
)
def test_left_is_the_answer_that_the_control_names_first(to: str, order: tuple[int, ...]) -> None:
    vote = only(task(pairwise("left", to=to)))
    assert vote.order == order and vote.ranks[order[0]] == 1
    assert only(task(pairwise("right", to=to))).ranks[order[1]] == 1


@pytest.mark.parametrize(
    ("choice", "verdict", "ranks"),
    [
        ("Left is better", "ranked", (1, 2)),
        ("answer2", "ranked", (2, 1)),
        ("Tie", "tie", (1, 1)),
        ("Neither", "all_bad", (1, 1)),
    ],
)
def test_choices_that_name_an_answer_are_votes(choice: str, verdict: str, ranks: tuple[int, ...]) -> None:
    vote = only(task(result("choices", "which", "prompt", choices=[choice])))
    assert (vote.verdict, vote.ranks, vote.order) == (verdict, ranks, ())


def test_ratings_and_choices_beside_a_pair_are_kept() -> None:
    vote = only(
        task(
            pairwise("left"), result("rating", "helpful_left", "answer1", rating=4), result("number", "helpful_right", "answer2", number=2),
            result("rating", "confidence", "prompt", rating=5), result("choices", "why", "prompt", choices=["short", "clear"]),
            result("choices", "tone", "answer2", choices=["rude"]), result("textarea", "note", "prompt", text=["so", " "]),
        )
    )  # fmt: skip
    assert vote.scores == (("helpful", 0, 4), ("helpful", 1, 2))
    assert vote.reasons == ("short", "clear", "answer2: rude")
    assert vote.comment == "confidence: 5\n\nso"


@pytest.mark.parametrize(
    ("results", "reason"),
    [
        ([pairwise("left", "help"), pairwise("right", "safe")], r"two questions by choosing \(help, safe\)"),
        ([pairwise("left"), pairwise("left")], "One person answers pw twice"),
        ([pairwise("left"), result("choices", "tie", "prompt", choices=["tie"])], "two questions"),
        ([pairwise("left", to="answer1,answer1")], "names one answer twice"),
        ([pairwise("left", to="answer3,answer4")], "names answer3, which is none of the answers"),
        ([pairwise("left", to="answer1,answer3")], "names answer3, which is none of the answers"),
        ([pairwise("left"), result("hypertextlabels", "span", text="x", labels=["y"])], "not understood .hypertextlabels."),
        ([pairwise("left", "worse")], "asks which answer is worse"),
        ([result("choices", "worst", "prompt", choices=["answer1"])], "asks which answer is worse"),
        ([result("choices", "safe", "prompt", choices=["Yes"])], "no vote in it that is understood: “Yes”"),
        ([result("rating", "good", "prompt", rating=4)], "no vote in it that is understood: “good: 4”"),
        ([result("rating", "good", "answer1", rating=None)], "The rating good is not a number"),
        ([result("choices", "safe", "prompt", choices="Yes")], "not a list of texts"),
        (["left"], "not an object with a value"),
        ([], "nothing is said in them"),
    ],
)  # fmt: skip
def test_a_result_that_is_no_vote_or_two_is_told(results: list[Any], reason: str) -> None:
    with pytest.raises(Unusable, match=reason):
        task(*results)


DOCUMENTS = [{"id": 1, "text": "doc one"}, {"id": 2, "text": "doc two"}]
ITEMS = [{"id": "i1", "body": "x"}, {"id": "i2", "body": "y"}]
PAIR = {"answer1": "AA", "answer2": "BB"}


def texts(data: Mapping[str, Any], *results: Mapping[str, Any]) -> tuple[list[str], Any]:
    judged = label_studio.read(
        {"data": {"prompt": "Q?", **data}, "annotations": [{"result": [*results]}] * bool(results)}, 1, NOW
    )
    return [each.text for each in judged.answers], only(judged).ranks if results else ()


def ranker(*ids: Any, to: str = "list") -> dict[str, Any]:
    return result("ranker", "order", to, ranker={"rank": list(ids)})


@pytest.mark.parametrize(
    ("data", "results", "expected"),
    [
        ({"sources": DOCUMENTS, **PAIR}, [pairwise("right")], (["AA", "BB"], (2, 1))),
        ({"sources": DOCUMENTS, **PAIR}, [], (["AA", "BB"], ())),
        ({"sources": DOCUMENTS, **PAIR}, [ranker("answer2", "answer1")], (["AA", "BB"], (2, 1))),
        ({"items": ITEMS, **PAIR}, [ranker("i2", "i1")], (["x", "y"], (2, 1))),
        ({"sources": DOCUMENTS, "items": ITEMS}, [ranker("i2", "i1")], (["x", "y"], (2, 1))),
        ({"items": DOCUMENTS, "other": DOCUMENTS[::-1]}, [ranker(1, 2, to="other")], (["doc two", "doc one"], (2, 1))),
        ({"items": ITEMS}, [], (["x", "y"], ())),
        ({"items": ITEMS}, [pairwise("left", to="txt1,txt2")], (["x", "y"], (1, 2))),
        ({"sources": DOCUMENTS, "old": "O", "new": "N"}, [pairwise("left", to="old,new")], (["N", "O"], (2, 1))),
        ({**PAIR, "answer3": "CC"}, [pairwise("left", to="answer3,answer1")], (["AA", "CC"], (2, 1))),
    ],
)  # fmt: skip
def test_a_list_holds_the_answers_only_where_nothing_else_does_or_a_ranker_orders_it(
    data: dict[str, Any], results: list[Any], expected: Any
) -> None:
    assert texts(data, *results) == expected


@pytest.mark.parametrize("results", [[], [ranker(1, 2)], [ranker(7, 8)]])
def test_of_several_lists_none_is_guessed(results: list[Any]) -> None:
    with pytest.raises(Unusable, match=r"Several lists of the task's data could be the answers \(one, two\)"):
        texts({"one": DOCUMENTS, "two": DOCUMENTS}, *results)


def test_what_a_control_says_of_one_answer_keeps_its_name() -> None:
    vote = only(
        task(
            pairwise("left"), result("textarea", "note1", "answer1", text=[None, "nice"]),
            result("textarea", "note2", "answer2", text=["dull"]),
            result("textarea", "else", "prompt", text=["so", None]), result("choices", "tone", "answer2", choices=["rude"]),
            result("choices", "facts", "answer2", choices=["old"]),
        )
    )  # fmt: skip
    assert vote.comment == "answer1: nice\n\nanswer2: dull\n\nso"
    assert vote.reasons == ("answer2, tone: rude", "answer2, facts: old")


def test_an_annotation_without_a_word_beside_another_says_nothing() -> None:
    assert len(task(pairwise("left"), more=[{"id": 6, "result": []}]).votes) == 1
    assert task(pairwise("left"), more=[{"id": 6, "was_cancelled": True, "result": 3}]).votes[0].ranks == (1, 2)


def test_a_task_without_annotations_holds_answers_that_nobody_has_judged() -> None:
    data = {"prompt": "Why?", "answer1": "x", "answer2": "y"}
    skipped = {"was_cancelled": True, "result": []}
    assert label_studio.read({"data": data, "annotations": []}, 1, NOW).votes == ()
    assert label_studio.read({"data": data, "annotations": [skipped]}, 1, NOW).votes == ()
