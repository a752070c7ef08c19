"""The selection: what is chosen goes in, what is not is counted, and what changes afterwards changes nothing."""

from datetime import UTC, datetime, timedelta

import pytest

from annotation.models import Flag, Judgement
from core.errors import DomainError
from generation.models import Deployment, Endpoint
from tests.training.judged import (
    freeze,
    judge,
    make_annotator,
    make_answer,
    make_arm,
    make_campaign,
    make_judged,
    make_project,
    make_prompt,
    make_set,
    make_task,
    make_version,
)
from training.previewing import preview
from training.selecting import add_round_source, read_selection
from training.snapshots import check_snapshot, rebuilt_sha256

pytestmark = pytest.mark.django_db


def found(project, campaign, **selection):
    seen = preview(project=project, campaigns=[campaign], selection=selection)
    return seen.n_rows, {reason: n for reason, n, *_ in seen.dropped}


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        ({"not_models": ["nosuch"]}, "There is no model “nosuch” in this project."),
        ({"annotators": ["human-x"]}, "There is no annotator “human-x” in this project."),
        ({"campaigns": ["other"]}, "The selection names other campaigns than those that are to be frozen."),
        ({"campaigns": "other"}, "The selection names other campaigns"),
        ({"rounds": [77]}, "None of these campaigns belongs to the rounds chosen."),
    ],
)
def test_what_a_selection_names_and_nobody_knows_is_refused(selection, said):
    project = make_project()
    campaign = make_judged(project, ["A"])
    with pytest.raises(DomainError, match=said):
        found(project, campaign, **selection)
    assert found(project, campaign, campaigns=[campaign.key]) == (1, {})


def test_only_prompts_with_a_chosen_tag_go_in():
    project = make_project()
    campaign = make_judged(project, ["A", "A", "A"])
    first, second, _ = [task.prompt for task in campaign.tasks.order_by("pk")]
    for prompt, tags in ((first, ["code"]), (second, ["maths", "code"])):
        prompt.tags = tags
        prompt.save(update_fields=["tags"])
    assert found(project, campaign, tags=["code"]) == (2, {"other_tags": 1})
    assert found(project, campaign, tags=["maths", "law"]) == (1, {"other_tags": 2})


def test_the_days_of_a_selection_are_utc_and_both_included():
    project = make_project()
    campaign = make_judged(project, ["A", "A", "A"])
    noon = datetime(2026, 3, 10, 0, 0, tzinfo=UTC)
    for number, judgement in enumerate(Judgement.objects.filter(assignment__task__campaign=campaign).order_by("pk")):
        at = (noon - timedelta(microseconds=1), noon, noon + timedelta(days=1))[number]
        Judgement.objects.filter(pk=judgement.pk).update(created_at=at)
    assert found(project, campaign, since="2026-03-10") == (2, {"other_days": 1})
    assert found(project, campaign, until="2026-03-10") == (2, {"other_days": 1})
    assert found(project, campaign, since="0001-01-01", until="9999-12-31") == (3, {})
    assert found(project, campaign, since="2026-03-10", until="2026-03-10") == (1, {"other_days": 2})
    with pytest.raises(DomainError, match="first day is after the last"):
        read_selection({"since": "2026-03-11", "until": "2026-03-10"})


def test_people_are_let_in_or_left_out_by_pseudonym():
    project = make_project()
    ana, ben = make_annotator(project), make_annotator(project)
    campaign = make_judged(project, ["A", "B"], annotator=ana)
    make_judged(project, ["A"], annotator=ben, campaign=campaign)
    assert found(project, campaign, annotators=[ana.pseudonym]) == (2, {"other_people": 1})
    assert found(project, campaign, not_annotators=[ana.pseudonym]) == (1, {"other_people": 2})


def test_nobody_gives_more_than_the_cap_and_which_ones_is_decided_by_content():
    project = make_project()
    campaign = make_judged(project, ["A"] * 6)
    rows = [
        {row["id"] for row in preview(project=project, campaigns=[campaign], selection=s).first_rows}
        for s in ({"max_per_annotator": 2}, {"max_per_annotator": 3})
    ]
    assert (len(rows[0]), len(rows[1])) == (2, 3) and rows[0] < rows[1]
    assert found(project, campaign, max_per_annotator=2) == (2, {"over_the_cap": 4})


def test_answers_of_other_models_are_taken_out_of_a_ranking():
    project = make_project()
    new, old = make_version(project, "new"), make_version(project, "old")
    arms = [make_arm(project, new), make_arm(project, new), make_arm(project, old)]
    prompt, campaign = make_prompt(make_set(project), "Which?"), make_campaign(project, kind="rank")
    answers = [make_answer(arm, prompt, f"by {number}") for number, arm in enumerate(arms)]
    judge(make_task(campaign, answers), make_annotator(project), (1, 2, 3))
    assert found(project, campaign) == (3, {})
    assert found(project, campaign, models=[new.key]) == (1, {})
    assert found(project, campaign, not_models=[new.key]) == (0, {"other_answers": 1})
    snapshot = freeze(project, [campaign], selection={"not_models": [old.key]})
    assert snapshot.counts["rows"]["train"] == 1
    check_snapshot(snapshot)


def test_the_current_policy_is_the_one_that_is_live_at_the_freeze():
    project = make_project()
    campaign = make_judged(project, ["A"])
    with pytest.raises(DomainError, match="No policy is live"):
        found(project, campaign, only_current_policy=True)
    live = make_version(project)
    endpoint = Endpoint.objects.create(name="here", engine="vllm", base_url="http://127.0.0.1:1")
    Deployment.objects.create(
        project=project, endpoint=endpoint, model_version=live, alias="policy", served_name="x", stage="live"
    )
    assert found(project, campaign, only_current_policy=True) == (0, {"other_answers": 1})
    make_judged(project, ["A", "B"], arm=make_arm(project, live), campaign=campaign)
    snapshot = freeze(project, [campaign], selection={"only_current_policy": True})
    assert snapshot.selection["models"] == [live.key] and snapshot.counts["rows"]["train"] == 2


def test_flagged_tasks_stay_out_and_flagged_answers_are_taken_out_for_good():
    project = make_project()
    arm, campaign = make_arm(project), make_campaign(project, kind="rank")
    prompts, ana = make_set(project), make_annotator(project)
    tasks = []
    for number in range(3):
        prompt = make_prompt(prompts, f"Question {number}?")
        tasks.append(make_task(campaign, [make_answer(arm, prompt, f"{word} {number}") for word in "abc"]))
        judge(tasks[-1], ana, (1, 2, 3))
    Flag.objects.create(task=tasks[0], annotator=ana, kind="harmful")
    answer = tasks[1].slots.first().candidate
    flag = Flag.objects.create(task=tasks[1], candidate=answer, annotator=ana, kind="harmful", status="upheld")
    Flag.objects.create(task=tasks[2], annotator=ana, kind="harmful", status="dismissed")
    Flag.objects.create(task=tasks[2], annotator=ana, kind="broken")
    assert found(project, campaign, without_flags=["harmful"]) == (4, {"flagged": 1})
    snapshot = freeze(project, [campaign], selection={"without_flags": ["harmful"]})
    Flag.objects.filter(pk=flag.pk).update(status="dismissed")
    Flag.objects.create(task=tasks[2], candidate=tasks[2].slots.first().candidate, annotator=ana, kind="harmful")
    assert rebuilt_sha256(snapshot) == snapshot.sha256


def test_a_round_narrows_the_campaigns():
    project = make_project()
    first, second = make_judged(project, ["A"]), make_judged(project, ["A", "B"])
    add_round_source(lambda asked: {7: {second.key}} if asked == project else {})
    seen = preview(project=project, campaigns=[first, second], selection={"rounds": [7]})
    assert seen.n_rows == 2
    snapshot = freeze(project, [first, second], selection={"rounds": [7]})
    assert list(snapshot.campaigns.all()) == [second] and snapshot.selection["campaigns"] == [second.key]
    with pytest.raises(DomainError, match="None of these campaigns belongs"):
        freeze(project, [first, second], selection={"rounds": [8]})


def test_an_adjudicated_verdict_stands_over_the_votes_only_where_asked():
    project = make_project()
    campaign = make_judged(project, ["A"])
    task = campaign.tasks.get()
    judge(task, make_annotator(project), "A")
    judge(task, make_annotator(project), "B", purpose="review", source="adjudicator")
    assert found(project, campaign) == (1, {"other_purpose": 1})
    seen = preview(project=project, campaigns=[campaign], selection={"with_adjudicated": True})
    assert {reason: n for reason, n, *_ in seen.dropped} == {"overruled": 2}
    (row,) = seen.first_rows
    assert (row["chosen"][0]["content"], row["n_votes"]) == ("Second answer 0", 1)


def test_kinds_of_flags_are_stored_as_plain_words():
    selection = read_selection({"without_flags": ["harmful", "broken"]})
    assert selection.stored()["without_flags"] == ["harmful", "broken"]
    assert type(selection.stored()["without_flags"][0]) is str
    assert selection == read_selection(selection.stored())


def test_what_is_not_a_setting_is_refused():
    for wrong in ({"colour": "red"}, {"since": "soon"}, {"without_flags": ["ugly"]}, {"max_per_annotator": 0}):
        with pytest.raises(DomainError, match="cannot be read"):
            read_selection(wrong)


def test_a_snapshot_with_few_settings_and_no_facts_still_gives_its_bytes():
    project = make_project()
    campaign = make_judged(project, ["A", "B", "A"], campaign=make_campaign(project, strength_levels=3), n_held_out=1)
    snapshot = freeze(project, [campaign])
    selection = {"campaigns": [campaign.key], "with_simulated": False, "with_unblinded": False}
    snapshot.selection, snapshot.facts = selection, {}
    assert rebuilt_sha256(snapshot) == snapshot.sha256


def test_what_the_campaign_asks_later_changes_no_frozen_row():
    project = make_project()
    campaign = make_campaign(project, strength_levels=2)
    task = make_task(
        campaign, [make_answer(make_arm(project), make_prompt(make_set(project), "Who?"), text) for text in "xy"]
    )
    judge(task, make_annotator(project), "A", strength=1)
    snapshot = freeze(project, [campaign])
    campaign.strength_levels, campaign.chosen_is_worse = 4, True
    campaign.save()
    check_snapshot(snapshot)


def test_many_judgements_are_estimated_from_a_sample_of_prompts():
    project = make_project()
    campaign = make_judged(project, ["A", "B"] * 60)
    campaign.tasks.update(n_submitted=1)
    seen = preview(project=project, campaigns=[campaign], enough=30)
    assert seen.one_in == 4 and 60 <= seen.n_rows <= 200
    assert seen.n_judgements == seen.n_rows
    assert preview(project=project, campaigns=[campaign], enough=60).one_in == 1


def test_an_answer_that_was_judged_alone_needs_no_other_one():
    project = make_project()
    campaign, arm, prompts = make_campaign(project), make_arm(project), make_set(project)
    for number in range(3):
        task = make_task(campaign, [make_answer(arm, make_prompt(prompts, f"{number}?"), "alone")])
        judge(task, make_annotator(project), (1,), verdict="both_good")
    Flag.objects.create(
        task=task, candidate=task.slots.get().candidate, annotator=make_annotator(project), kind="harmful"
    )
    for selection, n in (({}, 3), ({"without_flags": ["harmful"]}, 2), ({"models": [arm.model_version.key]}, 3),
                         ({"not_models": [arm.model_version.key]}, 0)):  # fmt: skip
        seen = preview(project=project, campaigns=[campaign], selection=selection, pair_policy={"unpaired": True})
        assert (seen.n_unpaired, sum(count for _, count, *_ in seen.dropped)) == (n, 3 - n)
