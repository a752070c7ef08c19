import numpy as np
import pytest

from annotation import planning
from annotation.assign import next_assignment
from annotation.pairs import Pairing
from annotation.planning import estimate, half_width, pace_of
from annotation.winrate import rate
from tests.annotation.builders import judge, make_annotator, make_campaign, make_job, make_project, make_prompts


@pytest.mark.django_db
def test_an_estimate_counts_what_the_campaign_then_is():
    project = make_project()
    job = make_job(project, n_prompts=5, n_answers=4)
    pairing = Pairing(per_prompt=3, max_tasks=12)
    found = estimate(project, [job], pairing, overlap=2, pay_per_hour=30.0)
    campaign = make_campaign(project, job=job, overlap=2, pairing=pairing.stored())
    assert found.n_tasks == campaign.n_tasks == 12
    assert found.n_judgements == 24 and found.n_prompts == 5
    assert not found.pace.is_measured
    assert found.hours == pytest.approx(24 * planning.PAIR_SECONDS / 3600)
    assert found.cost == pytest.approx(30 * found.hours)
    assert estimate(project, [job], pairing).cost is None


@pytest.mark.django_db
def test_the_pace_is_measured_from_the_projects_own_judgements():
    campaign = make_campaign(n_tasks=planning.ENOUGH_JUDGEMENTS)
    ana = make_annotator(campaign.project)
    while turn := next_assignment(ana, campaign):
        judge(turn, verdict="tie", active_seconds=10)
    pace = pace_of(campaign.project, "pair")
    assert (pace.seconds, pace.n_measured) == (10, planning.ENOUGH_JUDGEMENTS)
    assert not pace_of(campaign.project, "rank").is_measured
    assert not pace_of(make_project(), "pair").is_measured


@pytest.mark.django_db
def test_very_many_answers_are_counted_on_some_prompts(monkeypatch):
    project = make_project()
    job = make_job(project, prompts=make_prompts(project, 40), n_answers=3)
    monkeypatch.setattr(planning, "MOST_ANSWERS", 50)
    monkeypatch.setattr(planning, "SAMPLE_PROMPTS", 10)
    found = estimate(project, [job], Pairing())
    assert found.is_sampled and (found.n_tasks, found.n_prompts) == (120, 40)
    limited = estimate(project, [job], Pairing(max_tasks=30))
    assert (limited.n_tasks, limited.n_prompts) == (30, 30)


@pytest.mark.parametrize(("n_prompts", "m", "agreement"), [(100, 1, 0.7), (60, 5, 0.75), (200, 3, 0.6)])
def test_the_promised_width_is_what_resampling_prompts_then_gives(n_prompts, m, agreement):
    """Simulated votes that agree as promised: the bootstrap's interval must be about as wide as the formula says."""
    generator = np.random.default_rng(1)
    r = 2 * agreement - 1
    a = (1 - r) / r / 2  # of a Beta(a, a): its intra-class correlation is 1 / (2 a + 1) = r
    widths = []
    for _ in range(15):
        lean = generator.beta(a, a, n_prompts)
        shares = generator.binomial(m, lean) / m
        measured = rate(list(shares))
        widths.append((measured.high - measured.low) / 2)
    assert np.mean(widths) == pytest.approx(half_width(n_prompts, n_prompts * m, agreement), rel=0.1)


def test_more_judgements_of_the_same_prompts_help_less_than_more_prompts():
    once = half_width(100, 100, 0.7)
    assert once == pytest.approx(0.098, abs=0.001)  # 1.96 / (2 sqrt(100))
    few, many = half_width(100, 400, 0.7), half_width(400, 400, 0.7)
    assert few and many and few > many
    assert half_width(0, 0, 0.7) is None
