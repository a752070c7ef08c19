"""Queries that are compiled once: they ask and write what the ORM would."""

from datetime import timedelta

import pytest
from django.db import connection, connections
from django.db.models import DateTimeField, Exists, ExpressionWrapper, F, OuterRef
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Membership, Project, Role
from annotation import prepared
from annotation.models import Assignment, ComparisonTask, Place
from core.prepared import Insert, Query, Update, given
from tests.annotation.builders import make_annotator, make_campaign, make_project, make_user

pytestmark = pytest.mark.django_db


def test_rows_are_the_instances_that_the_orm_makes_with_their_relations():
    campaign = make_campaign(n_tasks=3)
    tasks = Query(
        lambda: (
            ComparisonTask.objects.select_related("campaign__project", "prompt")
            .filter(campaign=given("campaign"), is_free=True)
            .order_by("line")
        )
    )
    wanted = list(campaign.tasks.order_by("line"))
    for _ in range(8):  # beyond the point where the server keeps the plan
        found = tasks.all(campaign=campaign.pk)
        assert found == wanted
        with CaptureQueriesContext(connection) as queries:
            assert found[0].campaign.project.pk == campaign.project_id
            assert found[0].prompt.messages[0]["role"] == "user"
            assert found[0].created_at == wanted[0].created_at
        assert not queries.captured_queries
    assert tasks.all(campaign=campaign.pk + 1) == []
    assert tasks.first(campaign=campaign.pk + 1) is None


def test_tuples_and_subqueries_take_values():
    project = make_project()
    ana, _ = make_user("Ana", project, Role.ANNOTATOR), make_user("Olga")
    mine = Membership.objects.filter(project=OuterRef("pk"), user=given("user"))
    names = Query(lambda: Project.objects.filter(Exists(mine), slug=given("slug", str)).values_list("name", "pk"))
    assert names.all(user=ana.pk, slug=project.slug) == [(project.name, project.pk)]
    assert names.all(user=ana.pk, slug="other") == []


def test_an_update_says_how_many_rows_it_changed():
    campaign = make_campaign(n_tasks=2)
    place = Place.objects.create(annotator=make_annotator(campaign.project), campaign=campaign)
    count = Update(
        lambda: Place.objects.filter(pk=given("place"), n_submitted__lt=given("most")),
        n_submitted=F("n_submitted") + 1,
        day=given("day", type(timezone.now().date())),
    )
    today = timezone.now().date()
    assert [count.run(place=place.pk, most=2, day=today) for _ in range(3)] == [1, 1, 0]
    place.refresh_from_db()
    assert (place.n_submitted, place.day) == (2, today)


def test_an_insert_has_the_defaults_and_the_database_s_time():
    campaign = make_campaign(n_tasks=1)
    me, task = make_annotator(campaign.project), campaign.tasks.get()
    lease = ExpressionWrapper(Now() + given("lease", timedelta), output_field=DateTimeField())
    insert = Insert(Assignment, created_at=Now(), leased_until=lease)
    pk = insert.one(task=task.pk, annotator_id=me.pk, display_order=[1, 0], seat=0, lease=timedelta(minutes=5))
    turn = Assignment.objects.get(pk=pk)
    assert (turn.status, turn.display_order, turn.seat, turn.task) == ("open", [1, 0], 0, task)
    assert len(turn.key) == 12 and turn.finished_at is None
    assert turn.leased_until
    assert abs((turn.leased_until - turn.created_at) - timedelta(minutes=5)) < timedelta(seconds=1)


def test_many_rows_are_one_statement():
    project = make_project()
    users = [make_user("Ana"), make_user("Ravi")]
    insert = Insert(Membership)
    with CaptureQueriesContext(connection) as queries:
        ids = insert.many({"project_id": project.pk, "user_id": user.pk, "is_annotator": True} for user in users)
    assert len(queries) == 1
    assert [Membership.objects.get(pk=pk).user for pk in ids] == users
    assert insert.many([]) == []


@pytest.mark.postgres
def test_what_is_always_the_same_is_in_the_text_so_that_a_kept_plan_can_use_it():
    statement, _ = prepared.in_hand._compile(connections["default"])
    assert "IN ('open', 'parked')" in statement.sql
    assert {type(part).__name__ for part in statement.parameters} == {"_Slot"}
