"""The account, the list of projects, opening and describing a project, the audit page, the style guide."""

import pytest
from django.db import transaction
from django.test import Client

from accounts.audit import record
from accounts.models import AuditEvent, Membership, Project, Role, User
from tests.accounts.builders import HTMX, join, make_project

pytestmark = pytest.mark.django_db


def test_a_person_changes_name_and_colours_and_nothing_else(as_ana: Client, ana: Membership) -> None:
    extra = {"username": "root", "is_staff": "1", "is_superuser": "1", "password": "x", "key": "aaaaaaaaaaaa"}
    assert as_ana.post("/account/", {"name": "Ana S.", "theme": "dark", **extra}).status_code == 303
    user = User.objects.get(pk=ana.user.pk)
    assert (user.name, user.theme, user.username, user.is_staff, user.is_superuser) == (
        "Ana S.",
        "dark",
        "ana",
        False,
        False,
    )
    assert user.key == ana.user.key


def test_the_colours_are_remembered_without_an_account_too(client: Client) -> None:
    response = client.post("/theme/", {"theme": "dark", "next": "/sign-in/"})
    assert response.headers["Location"] == "/sign-in/"
    assert b'data-theme="dark"' in client.get("/sign-in/").content
    assert client.post("/theme/", {"theme": "<script>"}).status_code == 404


def test_one_sees_ones_own_projects(as_ana: Client, ana: Membership) -> None:
    make_project("Secret plans", "secret")
    page = as_ana.get("/projects/").content
    assert b"House answers" in page
    assert b"Secret plans" not in page
    assert b"<html" not in as_ana.get("/projects/", headers=HTMX).content


def test_researchers_open_projects_and_annotators_do_not(as_ravi: Client, as_ana: Client) -> None:
    assert as_ravi.post("/projects/new/", {"name": "Élan & Co", "description": ""}).headers["Location"] == "/p/elan-co/"
    mine = Membership.objects.get(project__slug="elan-co")
    assert mine.roles == set(Role)
    assert as_ana.get("/projects/new/").status_code == 403
    assert as_ana.post("/projects/new/", {"name": "Mine"}).status_code == 403
    assert not Project.objects.filter(name="Mine").exists()


def test_two_projects_of_one_name_have_two_addresses(as_ravi: Client) -> None:
    for _ in range(2):
        as_ravi.post("/projects/new/", {"name": "Twin"})
    assert len(set(Project.objects.filter(name="Twin").values_list("slug", flat=True))) == 2


@pytest.mark.parametrize("name", ["漢字", "!!!", "-"])
def test_a_name_without_letters_gets_an_address(as_ravi: Client, name: str) -> None:
    as_ravi.post("/projects/new/", {"name": name})
    assert Project.objects.get(name=name).slug.startswith("project")


def test_an_admin_describes_the_project_and_its_address_stays(as_ravi: Client) -> None:
    data = {"name": "New name", "description": "d", "guidelines": "# Be kind", "slug": "stolen", "is_demo": "1"}
    assert as_ravi.post("/p/house/settings/", data).status_code == 303
    project = Project.objects.get(slug="house")
    assert (project.name, project.guidelines, project.is_demo) == ("New name", "# Be kind", False)


def test_an_empty_name_is_refused_and_the_old_one_stays_on_the_page(as_ravi: Client) -> None:
    response = as_ravi.post("/p/house/settings/", {"name": ""})
    assert response.status_code == 422
    assert b"House answers" in response.content


def test_the_audit_page_shows_its_own_project_only(as_ravi: Client, ravi: Membership) -> None:
    record("round.start", user=ravi.user, project=ravi.project, detail={"number": 3})
    record("round.start", user=ravi.user, project=make_project("Other", "other"), detail={"number": 770077007700})
    page = as_ravi.get("/p/house/audit/").content
    assert b"round.start" in page
    assert b"770077007700" not in page
    assert b"<html" not in as_ravi.get("/p/house/audit/", headers=HTMX).content


def test_an_event_goes_with_the_change_that_it_records(ravi: Membership) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        record("round.start", user=ravi.user, project=ravi.project)
        raise ZeroDivisionError
    assert not AuditEvent.objects.exists()


def test_site_pages_are_for_site_admins(as_ravi: Client, client: Client, ana: Membership) -> None:
    assert as_ravi.get("/people/").status_code == 404
    boss = User.objects.create_superuser("boss")
    other = Client()
    other.force_login(boss)
    assert b"Ana" in other.get("/people/").content
    other.post(f"/people/{ana.user.key}/active/", {"active": "no"})
    assert not User.objects.get(pk=ana.user.pk).is_active
    assert other.post(f"/people/{boss.key}/active/", {"active": "no"}).status_code == 404


def test_the_style_guide_renders_for_those_signed_in(as_ana: Client, client: Client) -> None:
    assert as_ana.get("/styleguide/").status_code == 200
    assert client.get("/styleguide/").status_code == 404


def test_a_project_list_costs_the_same_for_one_and_for_many(
    as_ravi: Client, ravi: Membership, django_assert_max_num_queries: object
) -> None:
    for number in range(10):
        join(make_project(f"P{number}", f"p{number}"), "Ravi", Role.RESEARCHER)
    with django_assert_max_num_queries(8):  # type: ignore[operator]
        as_ravi.get("/projects/")
