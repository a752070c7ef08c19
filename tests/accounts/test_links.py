"""One-time sign-in links and invitations (T002, T003, T008)."""

from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from accounts import invitations
from accounts.models import Invitation, Membership, Project, Role, SignInLink, User
from core.errors import Conflict, DomainError
from tests.accounts.builders import HTMX, PASSWORD, make_user

pytestmark = pytest.mark.django_db


def test_a_link_signs_in_once_and_asks_for_a_password(client: Client) -> None:
    user = User.objects.create_user("demo")
    link = invitations.issue_sign_in_link(user)
    response = client.post(link)
    assert response.headers["Location"] == "/account/set-password/"
    response = client.post("/account/set-password/", {"new_password": PASSWORD})
    assert response.status_code == 303
    user.refresh_from_db()
    assert user.check_password(PASSWORD)
    assert not user.must_set_password
    assert client.get("/account/").status_code == 200
    assert Client().post(link).status_code == 409


def test_opening_a_link_spends_nothing(client: Client) -> None:
    link = invitations.issue_sign_in_link(make_user("Ana"))
    for _ in range(2):
        response = client.get(link)
        assert response.status_code == 200
        assert response.headers["Cache-Control"] == "no-store"
    assert "_auth_user_id" not in client.session
    assert client.post(link).status_code == 303


def test_a_link_ends_and_a_newer_one_replaces_it(client: Client) -> None:
    ana = make_user("Ana")
    first = invitations.issue_sign_in_link(ana)
    second = invitations.issue_sign_in_link(ana)
    assert client.post(first).status_code == 409
    SignInLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert client.get(second).status_code == 410
    assert client.post(second).status_code == 409


def test_the_database_holds_no_usable_link() -> None:
    token = invitations.issue_sign_in_link(make_user("Ana")).rstrip("/").rsplit("/", 1)[1]
    assert len(token) >= 43
    assert token not in str(list(SignInLink.objects.values()))


def test_a_link_keeps_the_password_that_there_is(client: Client) -> None:
    ana = make_user("Ana")
    response = client.post(invitations.issue_sign_in_link(ana))
    assert response.headers["Location"] == "/"
    ana.refresh_from_db()
    assert ana.check_password(PASSWORD)


def test_no_project_page_opens_before_the_password_is_set(client: Client, ravi: Membership) -> None:
    User.objects.filter(pk=ravi.user.pk).update(must_set_password=True)
    client.force_login(ravi.user)
    assert client.get("/p/house/members/").headers["Location"] == "/account/set-password/"


@pytest.mark.parametrize("password", ["short7!", "password1234", "1234567890123"])
def test_a_weak_password_is_refused(client: Client, password: str) -> None:
    client.post(invitations.issue_sign_in_link(User.objects.create_user("demo")))
    assert client.post("/account/set-password/", {"new_password": password}).status_code == 422


@pytest.mark.parametrize("password", [" a space in front and äöü 漢字", "x" * 70 + "y z" * 9])
def test_a_long_or_foreign_password_is_kept_to_the_letter(client: Client, password: str) -> None:
    user = User.objects.create_user("demo")
    client.post(invitations.issue_sign_in_link(user))
    assert client.post("/account/set-password/", {"new_password": password}).status_code == 303
    user.refresh_from_db()
    assert user.check_password(password)


def test_changing_the_password_ends_the_other_sessions(as_ravi: Client, ravi: Membership) -> None:
    other = Client()
    other.force_login(ravi.user)
    data = {"old_password": PASSWORD, "new_password": "another good sentence 9"}
    assert as_ravi.post("/account/password/", data).status_code == 303
    assert as_ravi.get("/account/").status_code == 200
    assert other.get("/account/").status_code == 302


@pytest.mark.parametrize("address", ["/sign-up/", "/signup/", "/register/", "/accounts/signup/", "/api/v1/users/"])
def test_nobody_signs_up_without_an_invitation(client: Client, address: str) -> None:
    assert client.get(address).status_code == 404
    assert client.post(address, {"username": "eve", "password": PASSWORD}).status_code in (403, 404)


def invite(ravi: Membership, *roles: Role, **options: int) -> str:
    return invitations.invite(project=ravi.project, roles=roles or [Role.ANNOTATOR], by=ravi, **options)[1]


NEW = {"username": "ben", "name": "Ben", "new_password": PASSWORD}


def test_an_invitation_makes_an_account_and_a_member_once(client: Client, ravi: Membership) -> None:
    link = invite(ravi, Role.ANNOTATOR, Role.REVIEWER)
    assert client.get(link).status_code == 200
    assert client.post(link, NEW).headers["Location"] == "/p/house/"
    ben = Membership.objects.get(user__username="ben")
    assert ben.roles == {Role.ANNOTATOR, Role.REVIEWER}
    assert not ben.user.is_staff
    again = Client().post(link, {**NEW, "username": "eve"})
    assert again.status_code == 410
    assert not User.objects.filter(username="eve").exists()


def test_an_invitation_gives_its_own_roles_whatever_is_posted(client: Client, ravi: Membership) -> None:
    client.post(invite(ravi), {**NEW, "roles": ["admin"], "is_superuser": "1", "is_staff": "1", "project": "other"})
    ben = Membership.objects.get(user__username="ben")
    assert ben.roles == {Role.ANNOTATOR}
    assert not ben.user.is_superuser
    assert not ben.user.is_staff


def test_an_invitation_serves_as_many_as_it_says(ravi: Membership) -> None:
    link = invite(ravi, max_uses=2)
    for name in ("ben", "bea", "bob"):
        Client().post(link, {**NEW, "username": name})
    assert set(User.objects.exclude(username="ravi").values_list("username", flat=True)) == {"ben", "bea"}


@pytest.mark.parametrize("spoil", ["expired", "revoked", "giver left", "giver closed"])
def test_an_invitation_stops(client: Client, ravi: Membership, spoil: str) -> None:
    link = invite(ravi)
    if spoil == "expired":
        Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    elif spoil == "revoked":
        invitations.revoke_invitation(Invitation.objects.get(), by=ravi.user)
    elif spoil == "giver left":
        ravi.delete()
    else:
        User.objects.filter(pk=ravi.user.pk).update(is_active=False)
    assert client.get(link).status_code == 410
    assert client.post(link, NEW).status_code == 410
    assert not User.objects.filter(username="ben").exists()


def test_someone_signed_in_joins_with_that_account(as_olga: Client, olga: User, ravi: Membership) -> None:
    assert as_olga.post(invite(ravi)).status_code == 303
    assert Membership.objects.get(user=olga).roles == {Role.ANNOTATOR}


def test_joining_keeps_the_roles_that_one_holds(as_ana: Client, ana: Membership, ravi: Membership) -> None:
    as_ana.post(invite(ravi, Role.REVIEWER))
    ana.refresh_from_db()
    assert ana.roles == {Role.ANNOTATOR, Role.REVIEWER}


def test_joining_again_does_not_use_the_invitation_up(as_ana: Client, ravi: Membership) -> None:
    assert as_ana.post(invite(ravi)).status_code == 422
    assert Invitation.objects.get().n_uses == 0


def test_a_taken_name_is_refused_with_a_way_on(client: Client, ravi: Membership, ana: Membership) -> None:
    response = client.post(invite(ravi), {**NEW, "username": "ANA"})
    assert response.status_code == 422
    assert b"sign in first" in response.content


def test_an_account_that_cannot_join_is_not_left_behind(ravi: Membership) -> None:
    link = invite(ravi)
    token = link.rstrip("/").rsplit("/", 1)[1]
    invitations.create_account_and_join(token, username="ben", name="Ben", password=PASSWORD)
    with pytest.raises(Conflict):
        invitations.create_account_and_join(token, username="eve", name="Eve", password=PASSWORD)
    assert not User.objects.filter(username="eve").exists()


def test_only_an_admin_invites(ana: Membership, project: Project) -> None:
    with pytest.raises(DomainError):
        invitations.invite(project=project, roles=[Role.ANNOTATOR], by=ana)


def test_the_page_shows_the_link_once(as_ravi: Client) -> None:
    response = as_ravi.post("/p/house/members/", {"roles": ["annotator"], "days": 7, "max_uses": 1}, headers=HTMX)
    assert b"http://testserver/join/" in response.content
    assert b"<html" not in response.content
    assert b"/join/" not in as_ravi.get("/p/house/members/").content


def test_a_site_admin_makes_a_link_for_someone_who_lost_the_password(client: Client) -> None:
    boss = User.objects.create_superuser("boss", password=PASSWORD)
    ana = make_user("Ana")
    client.force_login(boss)
    response = client.post(f"/people/{ana.key}/link/")
    assert b"http://testserver/sign-in/link/" in response.content
    assert response.headers["Cache-Control"] == "no-store"


def test_a_project_admin_makes_no_link_for_others(as_ravi: Client, ana: Membership) -> None:
    assert as_ravi.post(f"/people/{ana.user.key}/link/").status_code == 404
    assert not SignInLink.objects.exists()


def test_the_first_person_gets_in_by_a_link_from_the_console(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("sign_in_link", "boss", "--create", "--site-admin")
    boss = User.objects.get(username="boss")
    assert boss.is_superuser
    assert not boss.has_usable_password()
    assert client.post(capsys.readouterr().out.strip()).headers["Location"] == "/account/set-password/"


def test_the_console_makes_no_account_by_a_slip(db: None) -> None:
    with pytest.raises(CommandError, match="no account"):
        call_command("sign_in_link", "bosss")
    assert not User.objects.exists()
