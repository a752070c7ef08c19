"""The request that people wait for all day: the POST of a judgement, answered with the next task. What it may cost.

``benchmarks/annotation.py`` measures times; these tests hold what times come from, on any machine.
"""

import pytest
from django.db import connection
from django.db.models.sql.compiler import SQLCompiler
from django.template import Context, Template
from django.test import Client
from django.test.utils import CaptureQueriesContext

from annotation.models import Annotator, Assignment, Campaign
from core.templatetags.whetstone import _rendered
from tests.annotation.builders import make_annotator, make_campaign

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}
MOST_STATEMENTS = 26  # BEGIN, COMMIT and savepoints included


def begun(client: Client, **options: object) -> tuple[Annotator, Campaign]:
    campaign = make_campaign(**{"n_tasks": 8, "cap_per_day": 100, "cap_per_person": 100, **options})  # type: ignore[arg-type]
    me = make_annotator(campaign.project)
    assert me.user is not None
    client.force_login(me.user)
    client.post(f"/p/{campaign.project.slug}/annotate/campaign/{campaign.key}/", headers=HTMX)
    return me, campaign


def cycle(client: Client, me: Annotator, campaign: Campaign) -> None:
    turn = Assignment.objects.get(annotator=me, status="open")
    url = f"/p/{campaign.project.slug}/annotate/{turn.key}/"
    answer = client.post(url, {"choice": "a", "active": "12", "open": "14"}, headers=HTMX)
    assert answer.status_code == 200
    turn.refresh_from_db()
    assert turn.status == "submitted"
    assert b'id="judge"' in answer.content  # the next task is there at once


@pytest.mark.parametrize("overlap", [1, 3])
def test_a_cycle_takes_few_statements_and_no_more_with_each(client: Client, overlap: int):
    me, campaign = begun(client, overlap=overlap)
    counts = []
    for _ in range(5):
        with CaptureQueriesContext(connection) as queries:
            cycle(client, me, campaign)
        counts.append(len(queries) - 2)  # the test's own two
    assert len(set(counts[1:])) == 1
    assert counts[-1] <= MOST_STATEMENTS


def test_a_cycle_builds_no_sql(client: Client, monkeypatch: pytest.MonkeyPatch):
    """Every statement is one of ``core.prepared``: to build them anew cost more than to answer them."""
    me, campaign = begun(client)
    for _ in range(2):  # the first ones compile
        cycle(client, me, campaign)
    turn = Assignment.objects.get(annotator=me, status="open")
    built: list[str] = []
    as_sql = SQLCompiler.as_sql

    def counted(self: SQLCompiler, *args: object, **options: object) -> object:
        sql = as_sql(self, *args, **options)  # type: ignore[arg-type]
        built.append(sql[0])
        return sql

    monkeypatch.setattr(SQLCompiler, "as_sql", counted)
    client.post(
        f"/p/{campaign.project.slug}/annotate/{turn.key}/", {"choice": "b", "open": "3", "active": "2"}, headers=HTMX
    )
    assert built == []


def test_a_cycle_leaves_the_session_alone(client: Client):
    me, campaign = begun(client)
    turn = Assignment.objects.get(annotator=me, status="open")
    url = f"/p/{campaign.project.slug}/annotate/{turn.key}/"
    with CaptureQueriesContext(connection) as queries:
        answer = client.post(url, {"choice": "b"}, headers=HTMX)
    assert not [query for query in queries if 'UPDATE "django_session"' in (query["sql"] or "")]
    assert "whetstone_session" not in answer.cookies


def test_what_is_asked_first_is_rendered_once_for_all(client: Client):
    """The choices and the quiet line are the same bytes for whoever is asked the same; what somebody entered is theirs."""
    me, campaign = begun(client)
    _rendered.cache_clear()
    for _ in range(2):
        cycle(client, me, campaign)
    n_made = _rendered.cache_info().misses
    cycle(client, me, campaign)
    assert _rendered.cache_info().misses == n_made
    turn = Assignment.objects.get(annotator=me, status="open")
    url = f"/p/{campaign.project.slug}/annotate/{turn.key}/"
    answer = client.post(url, {"comment": "Mine alone."}, headers=HTMX)
    assert (answer.status_code, answer.content.count(b"Mine alone.")) == (422, 1)
    cycle(client, me, campaign)
    turn = Assignment.objects.get(annotator=me, status="open")
    assert b"Mine alone." not in client.get(f"/p/{campaign.project.slug}/annotate/{turn.key}/").content


def test_a_pure_part_sees_only_the_values_that_it_is_given(client: Client):
    _, campaign = begun(client)
    shown = Template('{% load whetstone %}{% pure "annotation/_guidelines_text.html" campaign=None %}')
    html = shown.render(Context({"campaign": campaign, "project": campaign.project}))
    assert "This campaign has no guidelines beyond its question" in html and campaign.question not in html
