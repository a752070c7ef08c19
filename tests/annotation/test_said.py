"""What a form says, by slot: every kind of campaign, every further question, and what is missing said in a sentence."""

from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

import pytest
from django.http import QueryDict

from annotation.protocol import Incomplete, Said

CORRECT = {"name": "correct", "label": "Correct", "kind": "rate", "levels": 5}
BRIEF = {"name": "brief", "label": "Short enough", "kind": "compare", "levels": 1}
SAFER = {"name": "safer", "label": "Safer", "kind": "compare", "levels": 3, "is_required": False}


@dataclass
class Asks:
    kind: str = "pair"
    allow_tie: bool = True
    allow_both_good: bool = True
    allow_both_bad: bool = True
    strength_levels: int = 0
    protocol: dict[str, Any] = field(default_factory=dict)


def read(asks: Asks, order=(0, 1), /, **fields) -> Said:
    fields = {name.replace("__", "-"): value for name, value in fields.items()}
    return Said.from_fields(fields, campaign=asks, display_order=order)


def refused(asks: Asks, order=(0, 1), /, **fields) -> Incomplete:
    with pytest.raises(Incomplete) as problem:
        read(asks, order, **fields)
    assert problem.value.sentence.endswith(".")
    return problem.value


@pytest.mark.parametrize(
    ("order", "choice", "ranks"),
    [((0, 1), "a", (1, 2)), ((1, 0), "a", (2, 1)), ((0, 1), "b", (2, 1)), ((1, 0), "b", (1, 2))],
)
def test_t174_a_letter_is_a_place_on_the_page_and_becomes_a_slot(order, choice, ranks):
    assert read(Asks(), order, choice=choice) == Said("ranked", ranks)


@pytest.mark.parametrize(("choice", "verdict"), [("tie", "tie"), ("both_good", "both_good"), ("both_bad", "all_bad")])
def test_a_tie_is_one_button_or_two(choice, verdict):
    assert read(Asks(), choice=choice) == Said(verdict)
    refused(Asks(allow_tie=False, allow_both_good=False, allow_both_bad=False), choice=choice)


@pytest.mark.parametrize("choice", ["", "c", "ranking", "withdrawn", "a1", "A", "a ", "voided"])
def test_what_is_no_button_is_refused(choice):
    if choice == "a ":
        assert read(Asks(), choice=choice).ranks == (1, 2)
    else:
        assert refused(Asks(), choice=choice).fields == ("choice",)


def test_one_value_gives_direction_and_strength_together():
    assert read(Asks(strength_levels=4), (1, 0), choice="b4") == Said("ranked", (1, 2), strength=4)
    assert read(Asks(strength_levels=3), choice="tie") == Said("tie")
    assert "how much" in refused(Asks(strength_levels=3), choice="a").sentence
    assert refused(Asks(strength_levels=3), choice="a4").fields == ("choice",)


def test_t174_a_ranking_falls_on_the_slots_in_every_order_shown():
    asks = Asks("rank")
    for order in permutations(range(4)):
        said = read(asks, order, **{f"rank__{letter}": str(place + 1) for place, letter in enumerate("ABCD")})
        assert [said.ranks[slot] for slot in order] == [1, 2, 3, 4]


def test_a_ranking_keeps_its_ties_and_closes_its_gaps():
    said = read(Asks("rank"), (2, 0, 1), rank__A="1", rank__B="3", rank__C="3", choice="ranking")
    assert said == Said("ranked", (2, 2, 1))


def test_a_ranking_of_nine_is_read_and_a_half_done_one_names_what_is_missing():
    places = {f"rank__{letter}": str(9 - place) for place, letter in enumerate("ABCDEFGHI")}
    assert read(Asks("rank"), tuple(range(9)), **places).ranks == (9, 8, 7, 6, 5, 4, 3, 2, 1)
    del places["rank__C"], places["rank__I"]
    problem = refused(Asks("rank"), tuple(range(9)), **places)
    assert problem.fields == ("rank-C", "rank-I") and "C and I" in problem.sentence


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "²", "first", "100"])
def test_a_place_is_a_whole_number_from_one(text):
    assert refused(Asks("rank"), rank__A="1", rank__B=text).fields == ("rank-B",)


def test_ties_in_a_ranking_can_be_forbidden():
    asks = Asks("rank", protocol={"allow_rank_ties": False})
    assert refused(asks, (0, 1, 2), rank__A="1", rank__B="2", rank__C="2").fields == ("rank-B", "rank-C")


def test_answers_that_all_share_a_place_are_a_tie_where_the_campaign_takes_one():
    assert read(Asks("rank"), (0, 1, 2), rank__A="1", rank__B="1", rank__C="1") == Said("tie")
    refused(Asks("rank", allow_tie=False), (0, 1, 2), rank__A="1", rank__B="1", rank__C="1")
    assert read(Asks("rank"), (0, 1, 2), choice="both_bad") == Said("all_bad")


def test_ratings_rank_by_the_first_criterion():
    asks = Asks("rate", protocol={"criteria": [CORRECT, {**CORRECT, "name": "tone", "label": "Tone"}]})
    tone = {f"rate__tone__{letter}": "3" for letter in "ABC"}
    said = read(asks, (2, 1, 0), rate__correct__A="5", rate__correct__B="2", rate__correct__C="5", **tone)
    assert (said.verdict, said.ranks) == ("ranked", (1, 2, 1))
    assert set(said.scores) >= {("correct", 2, 5), ("correct", 1, 2), ("correct", 0, 5)}
    same = {f"rate__correct__{letter}": "4" for letter in "ABC"}
    assert read(asks, (2, 1, 0), **same, **tone).verdict == "tie"


def test_a_criterion_where_less_is_better_ranks_the_other_way_round():
    asks = Asks("rate", protocol={"criteria": [{**CORRECT, "is_higher_better": False}]})
    assert read(asks, rate__correct__A="1", rate__correct__B="4").ranks == (1, 2)


@pytest.mark.parametrize("text", ["", "0", "6", "x"])
def test_a_rating_is_a_level_of_its_scale(text):
    asks = Asks("rate", protocol={"criteria": [CORRECT]})
    assert refused(asks, rate__correct__A="1", rate__correct__B=text).fields == ("rate-correct-B",)


def test_a_comparison_is_negative_where_slot_0_is_better_in_either_order():
    asks = Asks(protocol={"criteria": [BRIEF, SAFER]})
    shown, turned = (
        read(asks, order, choice="a", compare__brief="a", compare__safer="b2") for order in ((0, 1), (1, 0))
    )
    assert shown.scores == (("brief", None, -1), ("safer", None, 2))
    assert turned.scores == (("brief", None, 1), ("safer", None, -2))
    assert read(asks, choice="a", compare__brief="tie").scores == (("brief", None, 0),)


def test_a_required_criterion_is_asked_for_and_an_optional_one_is_not():
    asks = Asks(protocol={"criteria": [BRIEF, SAFER]})
    assert refused(asks, choice="a").fields == ("compare-brief",)
    assert refused(asks, choice="a", compare__brief="a2").fields == ("compare-brief",)
    assert refused(asks, choice="a", compare__brief="a", compare__safer="b").fields == ("compare-safer",)
    no_tie = Asks(protocol={"criteria": [{**BRIEF, "allow_tie": False}]})
    assert refused(no_tie, choice="a", compare__brief="tie").fields == ("compare-brief",)


def test_reasons_are_of_the_list_in_its_order_and_may_be_required():
    asks = Asks(protocol={"reasons": ["Wrong", "Too long", "Rude"], "needs_reason": True})
    form = QueryDict("choice=a&reason=Rude&reason=Wrong&reason=Rude")
    assert Said.from_fields(form, campaign=asks, display_order=[0, 1]).reasons == ("Wrong", "Rude")
    assert refused(asks, choice="a").fields == ("reason",)
    assert refused(asks, choice="a", reason=["Ugly"]).fields == ("reason",)


def test_a_comment_is_off_optional_or_required_with_a_length():
    assert read(Asks(protocol={"comment": "off"}), choice="a", comment="hello").comment == ""
    assert read(Asks(), choice="a", comment=" one\r\ntwo\x00 ").comment == "one\ntwo"
    asks = Asks(protocol={"comment": "required", "min_comment": 10})
    assert "10" in refused(asks, choice="a", comment="   too short").sentence
    assert refused(asks, choice="a").fields == ("comment",)
    assert refused(Asks(), choice="a", comment="x" * 5_001).fields == ("comment",)


def test_a_better_answer_remembers_what_it_was_written_from():
    asks = Asks(protocol={"write_in": "optional"})
    said = read(asks, (1, 0), choice="a", write_in="Better.", edited_from="B")
    assert (said.write_in, said.edited_from) == ("Better.", 0)
    assert read(asks, choice="a", write_in="  ", edited_from="B").edited_from is None
    assert read(Asks(), choice="a", write_in="Better.").write_in == ""
    assert refused(asks, choice="a", write_in="Better.", edited_from="C").fields == ("edited_from",)


def test_flags_are_of_the_task_or_of_an_answer():
    said = read(Asks(), (1, 0), choice="a", flag=["broken:B", "harmful"], flag_reason="See line 2")
    assert said.flags == (("harmful", None), ("broken", 0)) and said.flag_reason == "See line 2"
    assert read(Asks(), choice="a", flag_reason="nothing").flag_reason == ""
    assert read(Asks(protocol={"has_flags": False}), choice="a", flag=["broken"]).flags == ()
    assert refused(Asks(), choice="a", flag=["ugly"]).fields == ("flag",)
    assert refused(Asks(), choice="a", flag=["broken:C"]).fields == ("flag",)


@pytest.mark.parametrize(("text", "seconds"), [("12.5", 12.5), ("nan", 0), ("-3", 0), ("x", 0), ("1e9", 0), ("", 0)])
def test_seconds_that_are_no_number_count_as_not_measured(text, seconds):
    assert read(Asks(), choice="a", active=text).active_seconds == seconds


EVERYTHING = {
    "criteria": [CORRECT, BRIEF, SAFER], "reasons": ["Wrong", "Rude"], "write_in": "optional",
}  # fmt: skip


@pytest.mark.parametrize(
    ("asks", "order", "fields"),
    [
        (Asks(strength_levels=3, protocol=EVERYTHING), (1, 0), {
            "choice": "b2", "rate-correct-A": "1", "rate-correct-B": "5", "compare-brief": "tie", "compare-safer": "a3",
            "reason": ["Rude"], "comment": "So.", "write_in": "Better.", "edited_from": "A", "flag": ["private", "broken:B"],
            "flag_reason": "A name.",
        }),
        (Asks("rank"), (2, 0, 1), {"choice": "ranking", "rank-A": "2", "rank-B": "1", "rank-C": "2"}),
        (Asks("rate", protocol={"criteria": [CORRECT]}), (1, 2, 0), {f"rate-correct-{letter}": "2" for letter in "ABC"}),
        (Asks(), (1, 0), {"choice": "both_bad"}), (Asks(), (1, 0), {"choice": "b"}),
    ],
)  # fmt: skip
def test_what_was_said_fills_the_form_in_again_in_any_order_and_survives_json(asks, order, fields):
    said = Said.from_fields(fields, campaign=asks, display_order=order)
    assert (
        Said.from_fields(said.to_fields(campaign=asks, display_order=order), campaign=asks, display_order=order) == said
    )
    turned = list(reversed(order))
    assert (
        Said.from_fields(said.to_fields(campaign=asks, display_order=turned), campaign=asks, display_order=turned)
        == said
    )
    assert Said.parse(said.stored()) == said
    if asks.kind != "rate":
        filled = said.to_fields(campaign=asks, display_order=order)
        assert filled == {name: value if isinstance(value, list) else [value] for name, value in fields.items()}
