import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotation.agreement import TIE, Opinion, agreement_of, opinions_of, position_bias_of, wilson
from annotation.assign import next_assignment
from annotation.judge import live_judgements
from tests.annotation.builders import judge, make_annotator, make_campaign


def opinions(*tasks: str) -> list[Opinion]:
    """Each string is one prompt's task: a letter an opinion, ``-`` a tie."""
    return [
        Opinion(prompt=number, task=number, outcome=TIE if letter == "-" else ord(letter))
        for number, letters in enumerate(tasks)
        for letter in letters
    ]


def test_perfect_agreement_is_one_and_none_is_nought():
    assert agreement_of(opinions("aa", "bb", "--")).value == 1
    assert agreement_of(opinions("ab", "a-")).value == 0


def test_three_people_make_three_pairs():
    found = agreement_of(opinions("aab"))
    assert found.n_pairs == 3
    assert found.value == pytest.approx(1 / 3)


def test_ties_can_be_dropped():
    found = agreement_of(opinions("a-", "aa", "ab"), ties="drop")
    assert (found.n_pairs, found.value) == (2, 0.5)


def test_without_overlap_there_is_no_figure():
    assert agreement_of(opinions("a", "b")).value is None
    assert agreement_of([]) == agreement_of(opinions("a"))


@given(st.lists(st.text("ab-", min_size=2, max_size=5), min_size=1, max_size=30))
def test_the_interval_holds_the_value_and_stays_between_nought_and_one(tasks):
    found = agreement_of(opinions(*tasks))
    assert found.value is not None and found.low is not None and found.high is not None
    assert 0 <= found.low <= found.value + 1e-9 and found.value - 1e-9 <= found.high <= 1


def test_the_interval_resamples_prompts_and_not_votes():
    one_prompt = [Opinion(prompt=1, task=task, outcome=outcome) for task in range(50) for outcome in (1, 1 + task % 2)]
    found = agreement_of(one_prompt)
    assert (found.low, found.high) == (0.5, 0.5)  # a hundred votes on one prompt are one observation


def test_wilson_at_the_ends_and_in_the_middle():
    assert wilson(0, 0).value is None
    assert wilson(0, 10).low == 0 and wilson(0, 10).high == pytest.approx(0.2775, abs=1e-4)
    middle = wilson(50, 100)
    assert middle.low == pytest.approx(0.4038, abs=1e-4)
    assert middle.high == pytest.approx(0.5962, abs=1e-4)
    assert not middle.is_off_half and wilson(90, 100).is_off_half


def test_position_bias_counts_preferences_only():
    said = [
        Opinion(1, 1, outcome=7, first_shown=7),
        Opinion(1, 2, outcome=8, first_shown=9),
        Opinion(1, 3, TIE, first_shown=9),
    ]
    assert (position_bias_of(said).n, position_bias_of(said).value) == (2, 0.5)


@pytest.mark.django_db
def test_judgements_are_read_in_the_order_that_each_person_saw():
    campaign = make_campaign(n_tasks=12, overlap=2)
    for name in ("Ana", "Ben"):
        annotator = make_annotator(campaign.project, name)
        while turn := next_assignment(annotator, campaign):
            ranks = (1, 2) if turn.display_order == [0, 1] else (2, 1)  # always the answer in slot 0
            judge(turn, ranks)
    found = agreement_of(opinions_of(live_judgements()))
    assert (found.n_pairs, found.value) == (12, 1)
    bias = position_bias_of(opinions_of(live_judgements()))
    assert bias.n == 24 and bias.value is not None and 0 < bias.value < 1


@pytest.mark.django_db
def test_who_always_takes_the_first_answer_is_seen():
    campaign = make_campaign(n_tasks=20)
    annotator = make_annotator(campaign.project)
    while turn := next_assignment(annotator, campaign):
        judge(turn)
    assert position_bias_of(opinions_of(live_judgements())).is_off_half
