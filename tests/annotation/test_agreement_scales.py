"""Agreement on rankings and ratings: figures that the literature gives, and the edges."""

import random

import pytest

from annotation.agreement import agreement_of
from annotation.agreement_scales import (
    Ranking,
    Rating,
    alpha_of,
    criteria_agreement,
    kendall_tau_b,
    latest_of,
    pairs_within,
    ranking_agreement,
    tau_of,
)
from annotation.assign import next_assignment
from annotation.judge import live_judgements
from tests.annotation.builders import judge, make_annotator, make_campaign, make_job, make_project

# Krippendorff 2011, the data of its section D: four observers, twelve units.
A = [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None]
B = [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3]
C = [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None]
D = [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None]


def test_alpha_is_what_its_author_computed():
    ratings = [
        Rating(unit, (unit, 0), value) for row in (A, B, C, D) for unit, value in enumerate(row) if value is not None
    ]
    found = alpha_of(ratings)
    assert found.value == pytest.approx(0.815, abs=0.0005)
    assert found.n_pairs == 40
    assert found.value is not None and found.low is not None and found.high is not None
    assert found.low <= found.value <= found.high


def test_alpha_of_perfect_agreement_is_one_and_of_chance_is_about_nothing():
    perfect = [Rating(unit, (unit, 0), unit % 5) for unit in range(50) for _ in range(3)]
    assert alpha_of(perfect).value == 1.0
    dice = random.Random(7)
    chance = [Rating(unit, (unit, 0), dice.randint(1, 5)) for unit in range(2_000) for _ in range(2)]
    assert abs(alpha_of(chance).value) < 0.06


def test_nothing_is_said_where_nothing_was_rated_twice_or_all_is_the_same():
    assert alpha_of([]).value is None
    assert alpha_of([Rating(1, (1, 0), 3)]).value is None
    assert alpha_of([Rating(1, (1, 0), 3), Rating(1, (1, 0), 3)]).value is None


@pytest.mark.parametrize(
    ("one", "other", "tau"),
    [
        ((1, 2, 3), (1, 2, 3), 1.0), ((1, 2, 3), (3, 2, 1), -1.0), ((1, 2, 3, 4), (1, 2, 4, 3), 2 / 3),
        ((1, 1, 2), (1, 2, 3), 2 / 6**0.5), ((1, 1, 1), (1, 2, 3), None),
    ],
)  # fmt: skip
def test_tau_b_of_two_rankings(one, other, tau):
    found = kendall_tau_b(dict(enumerate(one)), dict(enumerate(other)))
    assert found == (None if tau is None else pytest.approx(tau))


def test_rankings_agree_by_the_pairs_within_them():
    rankings = [Ranking(1, 1, {10: 1, 11: 2, 12: 3}), Ranking(1, 1, {10: 1, 11: 3, 12: 2})]
    agreement = agreement_of(pairs_within(rankings))
    assert agreement.n_pairs == 3
    assert agreement.value == pytest.approx(2 / 3)
    assert tau_of(rankings).value == pytest.approx(1 / 3)
    assert tau_of(rankings[:1]).value is None


@pytest.mark.django_db
def test_agreement_is_read_from_judgements():
    project = make_project()
    job = make_job(project, n_prompts=4, n_answers=3)
    campaign = make_campaign(project, job=job, kind="rank", overlap=2, pairing={"pairs": "within", "n_answers": 3})
    for name in ("Ana", "Ben"):
        annotator = make_annotator(project, name)
        while turn := next_assignment(annotator, campaign):
            by_slot = {"Ana": (1, 2, 3), "Ben": (1, 3, 2)}[name]
            judge(turn, [by_slot[slot] for slot in turn.display_order])
    tau, pairs = ranking_agreement(list(live_judgements().values_list("pk", flat=True)))
    assert tau.value == pytest.approx(1 / 3)
    assert pairs.value == pytest.approx(2 / 3)


@pytest.mark.django_db
def test_each_criterion_has_its_own_agreement():
    criteria = [
        {"name": "true", "label": "True", "kind": "rate", "levels": 5},
        {"name": "kind", "label": "Kind", "kind": "compare"},
    ]
    campaign = make_campaign(n_tasks=4, overlap=2, protocol={"criteria": criteria})
    for name in ("Ana", "Ben"):
        annotator = make_annotator(campaign.project, name)
        while turn := next_assignment(annotator, campaign):
            side = 1 if name == "Ana" or turn.task.slots.first().candidate_id % 2 else -1
            judge(turn, scores=(("true", 0, 1), ("true", 1, 5), ("kind", None, side)))
    true, kind = criteria_agreement(campaign, latest_of(campaign))
    assert true.alpha.value == 1.0 and true.pairs is None
    assert kind.pairs.n_pairs == 4 and kind.alpha is None
