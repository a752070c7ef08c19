"""The world of ``benchmarks/annotation.py``: copies of rows are tasks that the app gives out, and its questions find what is wrong."""

import pytest

from accounts.models import User
from annotation.assign import next_assignment
from annotation.judge import submit_judgement
from annotation.models import Assignment, Campaign, ComparisonTask
from annotation.people import annotator_for
from annotation.protocol import Said
from benchmarks.judging import world

pytestmark = pytest.mark.django_db


def test_a_campaign_of_copies_is_judged_like_any_other_and_work_can_be_added():
    world.make_project(1)
    made = world.make_campaign(n_tasks=23, overlap=2, answers_each=3, options={}, n_people=1)
    campaign = Campaign.objects.get(key=made["campaign"])
    assert campaign.tasks.filter(is_free=True).count() == 23
    pairs = {tuple(task.slots.values_list("candidate", flat=True)) for task in campaign.tasks.all()}
    assert len(pairs) == 23 and all(len(set(pair)) == 2 for pair in pairs)
    assert all(
        slot.candidate.prompt_id == slot.task.prompt_id for task in campaign.tasks.all() for slot in task.slots.all()
    )

    me = annotator_for(User.objects.get(username="person-0"), campaign.project)
    turn = next_assignment(me, campaign)
    assert turn is not None
    submit_judgement(assignment_key=turn.key, annotator=me, said=Said("ranked", ranks=(1, 2)))
    world.add_work(campaign.key, 0, 15)
    assert Assignment.objects.filter(annotator=me, status="submitted").count() == 15
    found = world.check(campaign.key)
    assert {name: n for name, n in found.items() if n} == {"n_submitted": 15, "n_judgements": 15}
    after = next_assignment(me, campaign)
    assert after is not None and after.task.line > turn.task.line

    ComparisonTask.objects.filter(pk=turn.task_id).update(n_taken=2)
    assert world.check(campaign.key)["counter off"] == 1
