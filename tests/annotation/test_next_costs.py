"""T161, T162: "next" costs the same however large the campaign is and however much a person has done."""

import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from annotation import prepared
from annotation.assign import next_assignment
from annotation.models import Annotator, Assignment, Campaign, ComparisonTask, Place
from core.bulk import Rows
from core.ids import new_key
from tests.annotation.builders import grown_campaign, judge, make_annotator

pytestmark = pytest.mark.django_db


def have_done(annotator: Annotator, campaign: Campaign, n_done: int) -> None:
    """This person has judged the first ``n_done`` tasks of the line, and nobody else any: all of them still have free seats."""
    done = list(campaign.tasks.order_by("line").values_list("pk", "line")[:n_done])
    turns = Rows(
        Assignment, "key", "task_id", annotator_id=annotator.pk, seat=0, display_order=[0, 1], status="submitted"
    )
    turns.insert((new_key(), pk) for pk, _ in done)
    ComparisonTask.objects.filter(pk__in=[pk for pk, _ in done[:500]]).update(n_taken=1, n_submitted=1)
    Place.objects.create(annotator=annotator, campaign=campaign, n_submitted=n_done, hand=done[-1][1])


def rows_read(annotator: Annotator, campaign: Campaign) -> int:
    """How many rows of the tasks the walk from the hand on looks at, as PostgreSQL counts them."""
    place = Place.objects.get(annotator=annotator, campaign=campaign)
    free = prepared.untouched(annotator.pk, campaign.pk, 0, has_human=False).filter(line__gte=place.hand)
    plan = json.loads(free.order_by("line")[:1].explain(analyze=True, format="json"))[0]["Plan"]
    seen, n_read = [plan], 0
    while seen:
        node = seen.pop()
        seen += node.get("Plans", [])
        if node.get("Relation Name") == "annotation_comparisontask":
            assert node.get("Index Name") == "task_next_in_line", node
            n_read += (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
    return n_read


@pytest.mark.parametrize("n_tasks", [20, 2_000])
def test_t162_the_number_of_queries_is_the_same(n_tasks):
    campaign = grown_campaign(n_tasks)
    ana = make_annotator(campaign.project)
    have_done(ana, campaign, n_tasks // 2)
    with CaptureQueriesContext(connection) as queries:
        assert next_assignment(ana, campaign) is not None
    assert len(queries) <= 16, [query["sql"][:80] for query in queries]


@pytest.mark.postgres
@pytest.mark.parametrize(("n_tasks", "n_done"), [(50, 10), (5_000, 4_000)])
def test_t161_the_walk_reads_a_few_rows_of_one_small_index(n_tasks, n_done):
    campaign = grown_campaign(n_tasks)
    ana = make_annotator(campaign.project)
    have_done(ana, campaign, n_done)
    assert rows_read(ana, campaign) <= 3
    for _ in range(3):
        judge(next_assignment(ana, campaign))
    assert rows_read(ana, campaign) <= 3


@pytest.mark.slow
@pytest.mark.postgres
def test_t161_fifty_thousand_tasks_at_overlap_five_for_somebody_who_has_done_almost_all():
    campaign = grown_campaign(50_000)
    ana = make_annotator(campaign.project)
    have_done(ana, campaign, 49_990)
    assert rows_read(ana, campaign) <= 3
    seen = set()
    while turn := next_assignment(ana, campaign):
        seen.add(turn.task_id)
        judge(turn)
    assert len(seen) == 10
