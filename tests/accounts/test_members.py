"""Members and roles: who sees the page, who grants what (T015, T016, T018, R1, R4, R5)."""

from collections.abc import Iterator

import pytest
from django.test import Client

from accounts import members
from accounts.models import ApiToken, AuditEvent, Membership, Project, Role, User
from accounts.tokens import create_token
from core.errors import DomainError
from tests.accounts.builders import HTMX, join, make_project

pytestmark = pytest.mark.django_db


def test_an_admin_sees_the_whole_page(as_ravi: Client, ana: Membership) -> None:
    response = as_ravi.get("/p/house/members/")
    assert response.status_code == 200
    assert b"<html" in response.content
    assert b"Ana" in response.content
    assert "HX-Request" in response.headers["Vary"]


def test_htmx_gets_the_part_and_a_boosted_link_the_page(as_ravi: Client) -> None:
    assert b"<html" not in as_ravi.get("/p/house/members/", headers=HTMX).content
    boosted = as_ravi.get("/p/house/members/", headers={**HTMX, "HX-Boosted": "true"})
    assert b"<html" in boosted.content
    restored = as_ravi.get("/p/house/members/", headers={**HTMX, "HX-History-Restore-Request": "true"})
    assert b"<html" in restored.content


ADMIN_PAGES = ["members/", "audit/", "settings/"]


@pytest.mark.parametrize("page", ADMIN_PAGES)
def test_a_member_without_the_role_is_told_so(as_ana: Client, page: str) -> None:
    response = as_ana.get(f"/p/house/{page}")
    assert response.status_code == 403
    assert b"for the role admin" in response.content


@pytest.mark.parametrize("page", [*ADMIN_PAGES, "tokens/"])
def test_a_stranger_cannot_tell_the_project_from_none(as_olga: Client, project: Project, page: str) -> None:
    known, unknown = as_olga.get(f"/p/house/{page}"), as_olga.get(f"/p/nosuch/{page}")
    assert known.status_code == unknown.status_code == 404

    def body(response: object) -> bytes:
        return response.content.split(b"<main")[1].split(b"</main>")[0]  # type: ignore[attr-defined, no-any-return]

    assert body(known) == body(unknown)


@pytest.mark.parametrize("page", [*ADMIN_PAGES, "tokens/"])
def test_someone_signed_out_is_sent_to_sign_in(client: Client, project: Project, page: str) -> None:
    assert client.get(f"/p/house/{page}").headers["Location"] == f"/sign-in/?next=/p/house/{page}"


@pytest.mark.parametrize(
    ("method", "page"),
    [("put", "members/"), ("delete", "tokens/"), ("post", "audit/"), ("get", "members/xxxxxxxxxxxx/remove/")],
)
def test_the_wrong_method_is_refused(as_ravi: Client, method: str, page: str) -> None:
    assert getattr(as_ravi, method)(f"/p/house/{page}").status_code == 405


def test_an_admin_changes_roles_and_it_is_written_down(as_ravi: Client, ana: Membership) -> None:
    response = as_ravi.post(f"/p/house/members/{ana.user.key}/", {"roles": ["reviewer", "researcher"]})
    assert response.status_code == 303
    ana.refresh_from_db()
    assert ana.roles == {Role.REVIEWER, Role.RESEARCHER}
    event = AuditEvent.objects.get(action="member.roles")
    assert event.detail == {"before": ["annotator"], "after": ["researcher", "reviewer"]}
    assert event.subject_key == ana.user.key


def test_other_columns_cannot_be_posted_along(as_ravi: Client, ana: Membership) -> None:
    extra = {
        "is_superuser": "1",
        "is_staff": "1",
        "project": "2",
        "user": "1",
        "created_at": "2001-01-01",
        "role": "admin",
    }
    as_ravi.post(f"/p/house/members/{ana.user.key}/", {"roles": ["reviewer"], **extra})
    before = ana.created_at
    ana.refresh_from_db()
    assert (ana.roles, ana.created_at, ana.user.is_superuser) == ({Role.REVIEWER}, before, False)


@pytest.mark.parametrize("roles", [["owner"], [], ["admin", "root"]])
def test_roles_that_do_not_exist_are_refused(as_ravi: Client, ana: Membership, roles: list[str]) -> None:
    assert as_ravi.post(f"/p/house/members/{ana.user.key}/", {"roles": roles}).status_code == 422
    ana.refresh_from_db()
    assert ana.roles == {Role.ANNOTATOR}


def test_nobody_changes_their_own_roles(as_ravi: Client, ravi: Membership) -> None:
    join(ravi.project, "Ben", Role.ADMIN)
    response = as_ravi.post(f"/p/house/members/{ravi.user.key}/", {"roles": ["admin", "annotator"]})
    assert response.status_code == 422
    assert b"Nobody changes their own roles." in response.content
    ravi.refresh_from_db()
    assert ravi.roles == {Role.ADMIN, Role.RESEARCHER}


def test_only_an_admin_grants_and_never_above_the_own_level(
    project: Project, ravi: Membership, ana: Membership
) -> None:
    researcher = join(project, "Ben", Role.RESEARCHER)
    for roles in ([Role.ADMIN], [Role.ANNOTATOR, Role.REVIEWER]):
        with pytest.raises(DomainError):
            members.change_roles(membership=ana, roles=roles, by=researcher)
    ana.refresh_from_db()
    assert ana.roles == {Role.ANNOTATOR}


def test_the_last_admin_stays(project: Project, ravi: Membership) -> None:
    boss = User.objects.create_superuser("boss")
    by = Membership(project=project, user=boss, is_admin=True)
    with pytest.raises(DomainError, match="last admin"):
        members.change_roles(membership=ravi, roles=[Role.RESEARCHER], by=by)
    with pytest.raises(DomainError, match="last admin"):
        members.remove_member(membership=ravi, by=by)
    other = join(project, "Ben", Role.ADMIN)
    User.objects.filter(pk=other.user.pk).update(is_active=False)
    with pytest.raises(DomainError, match="last admin"):
        members.remove_member(membership=ravi, by=by)
    User.objects.filter(pk=other.user.pk).update(is_active=True)
    members.remove_member(membership=ravi, by=by)
    assert not Membership.objects.filter(pk=ravi.pk).exists()


@pytest.fixture
def left() -> Iterator[list[tuple[Project, User]]]:
    calls: list[tuple[Project, User]] = []

    def hook(project: Project, user: User) -> None:
        calls.append((project, user))

    members.when_member_leaves(hook)
    yield calls
    members._leaving.remove(hook)


def test_a_removal_counts_from_the_next_request(
    as_ravi: Client, as_ana: Client, ana: Membership, left: list[tuple[Project, User]]
) -> None:
    token, _ = create_token(membership=ana, name="script", scopes=["annotate"])
    assert as_ana.get("/p/house/tokens/").status_code == 200
    assert as_ravi.post(f"/p/house/members/{ana.user.key}/remove/").status_code == 303
    assert as_ana.get("/p/house/tokens/").status_code == 404
    assert left == [(ana.project, ana.user)]
    assert ApiToken.objects.get(pk=token.pk).revoked_at is not None


def test_who_stops_annotating_gives_up_what_they_hold(
    ravi: Membership, ana: Membership, left: list[tuple[Project, User]]
) -> None:
    members.change_roles(membership=ana, roles=[Role.ANNOTATOR, Role.REVIEWER], by=ravi)
    assert left == []
    members.change_roles(membership=ana, roles=[Role.REVIEWER], by=ravi)
    assert left == [(ana.project, ana.user)]


def test_a_member_of_another_project_is_out_of_reach(as_ravi: Client, ravi: Membership) -> None:
    other = join(make_project("Other", "other"), "Ben", Role.ANNOTATOR)
    for action in ("", "remove/"):
        response = as_ravi.post(f"/p/house/members/{other.user.key}/{action}", {"roles": ["admin"]})
        assert response.status_code == 404
    with pytest.raises(DomainError):
        members.change_roles(membership=other, roles=[Role.ADMIN], by=ravi)
    other.refresh_from_db()
    assert other.roles == {Role.ANNOTATOR}


def test_a_site_admin_opens_every_project(client: Client, project: Project) -> None:
    client.force_login(User.objects.create_superuser("boss"))
    assert client.get("/p/house/members/").status_code == 200


def test_the_navigation_shows_what_one_may_open(as_ana: Client, as_ravi: Client) -> None:
    annotator = as_ana.get("/p/house/tokens/").content.decode()
    researcher = as_ravi.get("/p/house/tokens/").content.decode()
    assert "/p/house/annotate/" in annotator
    assert "/p/house/models/" not in annotator
    assert "/p/house/models/" in researcher
    assert "/p/house/annotate/" not in researcher
    assert researcher.count('aria-current="page"') == 2  # side bar and phone menu
