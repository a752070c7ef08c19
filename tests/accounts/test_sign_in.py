"""Signing in and out: sessions, throttling, places to go on to (T002, T004, T005, T007, T010, T027)."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts import signin
from accounts.models import AuditEvent, Membership, User
from tests.accounts.builders import HTMX, PASSWORD, make_user

pytestmark = pytest.mark.django_db

GUESSES = [
    ("admin", "admin"),
    ("admin", "password"),
    ("owner", "owner.apikey"),
    ("argilla", "12345678"),
    ("demo", "demo"),
]


def sign_in(client: Client, username: str, password: str, **extra: str) -> int:
    return client.post("/sign-in/", {"username": username, "password": password}, **extra).status_code


@pytest.mark.parametrize(("username", "password"), GUESSES)
def test_a_fresh_installation_has_no_account_to_guess(client: Client, username: str, password: str) -> None:
    assert not User.objects.exists()
    assert sign_in(client, username, password) == 422
    assert "_auth_user_id" not in client.session


def test_the_right_password_signs_in_and_changes_the_session(client: Client) -> None:
    make_user("Ana")
    client.get("/sign-in/")
    client.session.save()
    before = client.session.session_key
    response = client.post("/sign-in/", {"username": "ana", "password": PASSWORD})
    assert response.status_code == 303
    assert client.session.session_key != before
    assert AuditEvent.objects.get(action="sign_in.ok").user is not None


def test_wrong_password_and_unknown_name_look_the_same(client: Client) -> None:
    make_user("Ana")
    known = client.post("/sign-in/", {"username": "ana", "password": "wrong wrong"})
    unknown = client.post("/sign-in/", {"username": "eve", "password": "wrong wrong"})
    assert known.status_code == unknown.status_code == 422
    assert b"do not match" in known.content
    assert b"do not match" in unknown.content


def test_a_fragment_of_the_form_comes_back_for_htmx(client: Client) -> None:
    response = client.post("/sign-in/", {"username": "x", "password": "y"}, headers=HTMX)
    assert response.status_code == 422
    assert b"<html" not in response.content
    assert b'role="alert"' in response.content


def test_too_many_wrong_passwords_close_the_door_for_a_while(client: Client) -> None:
    make_user("Ana")
    for _ in range(signin.MOST_FOR_PAIR):
        assert sign_in(client, "ana", "wrong wrong") == 422
    assert sign_in(client, "ana", PASSWORD) == 429
    assert AuditEvent.objects.filter(action=signin.FAILED).count() == signin.MOST_FOR_PAIR
    AuditEvent.objects.update(created_at=timezone.now() - signin.WINDOW - timedelta(seconds=1))
    assert sign_in(client, "ana", PASSWORD) == 303


def test_attempts_at_a_closed_door_do_not_keep_it_closed(client: Client) -> None:
    for _ in range(signin.MOST_FOR_PAIR + 10):
        sign_in(client, "ana", "wrong wrong")
    assert AuditEvent.objects.filter(action=signin.FAILED).count() == signin.MOST_FOR_PAIR


def test_another_address_is_not_shut_out_with_the_attacker(client: Client) -> None:
    make_user("Ana")
    for _ in range(signin.MOST_FOR_PAIR):
        sign_in(client, "ana", "wrong wrong", REMOTE_ADDR="10.0.0.66")
    assert sign_in(client, "ana", PASSWORD, REMOTE_ADDR="10.0.0.1") == 303


def test_a_password_list_over_many_accounts_is_stopped(
    client: Client, settings: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signin, "MOST_FOR_ADDRESS", 5)
    statuses = [sign_in(client, f"person{number}", "wrong wrong") for number in range(7)]
    assert statuses == [422] * 5 + [429] * 2


def test_a_client_cannot_choose_its_address(client: Client) -> None:
    for number in range(signin.MOST_FOR_PAIR):
        sign_in(client, "ana", "wrong wrong", HTTP_X_FORWARDED_FOR=f"10.0.0.{number}")
    assert sign_in(client, "ana", "wrong wrong", HTTP_X_FORWARDED_FOR="10.0.9.9") == 429


def test_the_failure_log_holds_no_name_and_no_password(client: Client) -> None:
    sign_in(client, "my-secret-typed-here", "hunter2 hunter2")
    detail = str(AuditEvent.objects.get(action=signin.FAILED).detail)
    assert "my-secret" not in detail
    assert "hunter2" not in detail


def test_signing_out_ends_the_session_for_good(as_ravi: Client) -> None:
    cookie = as_ravi.cookies["whetstone_session"].value
    assert as_ravi.get("/account/").status_code == 200
    assert as_ravi.post("/sign-out/").status_code == 303
    replay = Client()
    replay.cookies["whetstone_session"] = cookie
    assert replay.get("/account/").status_code == 302


def test_signing_out_needs_a_post(as_ravi: Client) -> None:
    assert as_ravi.get("/sign-out/").status_code == 405
    assert as_ravi.get("/account/").status_code == 200


def test_a_closed_account_is_out_with_its_next_request(as_ravi: Client, ravi: Membership) -> None:
    User.objects.filter(pk=ravi.user.pk).update(is_active=False)
    assert as_ravi.get("/p/house/members/").status_code == 302
    assert sign_in(Client(), "ravi", PASSWORD) == 422


@pytest.mark.parametrize(
    "place",
    [
        "https://evil.example/",
        "//evil.example/",
        r"\\evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "http:///evil.example",
    ],
)
def test_signing_in_goes_on_to_this_site_only(client: Client, place: str) -> None:
    make_user("Ana")
    response = client.post("/sign-in/", {"username": "ana", "password": PASSWORD, "next": place})
    assert response.headers["Location"] == "/"


def test_signing_in_goes_on_to_where_one_wanted_to_be(client: Client) -> None:
    make_user("Ana")
    response = client.post("/sign-in/", {"username": "ana", "password": PASSWORD, "next": "/p/house/runs/"})
    assert response.headers["Location"] == "/p/house/runs/"


def test_htmx_gets_a_redirect_in_a_header_after_the_session_has_ended(client: Client) -> None:
    headers = {**HTMX, "HX-Current-URL": "http://testserver/p/house/runs/?page=2"}
    response = client.get("/p/house/members/", headers=headers)
    assert response.status_code == 200
    assert response.headers["HX-Redirect"] == "/sign-in/?next=/p/house/runs/%3Fpage%3D2"
    assert response.content == b""


UNSAFE = [
    "/sign-in/", "/sign-out/", "/theme/", "/account/", "/account/password/", "/projects/new/",
    "/p/house/members/", "/p/house/tokens/", "/p/house/settings/",
]  # fmt: skip


@pytest.mark.parametrize("address", UNSAFE)
@pytest.mark.parametrize(
    "headers", [{}, {"HX-Request": "true"}, {"Origin": "null"}, {"Origin": "https://evil.example"}], ids=str
)
def test_no_form_is_taken_without_its_token(ravi: Membership, address: str, headers: dict[str, str]) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(ravi.user)
    before = list(Membership.objects.values())
    response = client.post(address, {"name": "changed", "roles": ["annotator"]}, headers=headers)
    assert response.status_code == 403
    assert list(Membership.objects.values()) == before
    assert not AuditEvent.objects.exists()


def test_signed_in_pages_are_kept_out_of_every_cache(as_ravi: Client) -> None:
    assert as_ravi.get("/account/").headers["Cache-Control"] == "no-store"
