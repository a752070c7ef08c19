"""API tokens (T020, T021, R8): hashed, scoped, ending, never more than their owner."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.utils import timezone
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import ApiToken, AuditEvent, Membership, Role, User
from accounts.tokens import HasScope, TokenAuthentication, create_token, revoke_token
from core.errors import DomainError
from tests.accounts.builders import join, make_project

pytestmark = pytest.mark.django_db


class Deploys(APIView):
    authentication_classes = (TokenAuthentication,)
    permission_classes = (HasScope("deploy"),)

    def post(self, request: Any, project: str | None = None) -> Response:
        return Response({"project": request._request.project.slug, "by": request.user.username})


def call(secret: str | None, address: str = "/api/v1/x/", **kwargs: str) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    response: HttpResponse = Deploys.as_view()(RequestFactory().post(address, headers=headers), **kwargs)
    response.render()  # type: ignore[attr-defined]
    return response.status_code, json.loads(response.content)


@pytest.fixture
def secret(ravi: Membership) -> str:
    return create_token(membership=ravi, name="gpu-host-nine", scopes=["deploy"])[1]


def test_a_token_with_the_scope_is_let_in(secret: str) -> None:
    assert call(secret) == (200, {"project": "house", "by": "ravi"})
    assert call(secret, project="house")[0] == 200
    assert ApiToken.objects.get().last_used_at is not None


def test_the_database_holds_no_usable_token(secret: str) -> None:
    row = ApiToken.objects.get()
    assert row.prefix == secret[:8]
    dump = str(list(ApiToken.objects.values())) + str(list(AuditEvent.objects.values()))
    assert secret not in dump
    assert secret[8:] not in dump


@pytest.mark.parametrize("spoil", ["expired", "revoked", "owner closed", "owner left"])
def test_a_token_stops(secret: str, ravi: Membership, spoil: str) -> None:
    token = ApiToken.objects.get()
    if spoil == "expired":
        ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    elif spoil == "revoked":
        revoke_token(token, by=ravi.user)
    elif spoil == "owner closed":
        User.objects.update(is_active=False)
    else:
        ravi.delete()
    assert call(secret)[0] == 401


def test_a_token_never_does_more_than_its_owner_may(secret: str, ravi: Membership) -> None:
    Membership.objects.filter(pk=ravi.pk).update(**Membership.flags([Role.ANNOTATOR]))
    assert call(secret)[0] == 403


def test_another_scope_does_not_open_it(ravi: Membership) -> None:
    status, body = call(create_token(membership=ravi, name="reader", scopes=["read"])[1])
    assert status == 403
    assert "scope" in body["error"]


def test_another_project_does_not_open_it(secret: str, ravi: Membership) -> None:
    Membership.objects.create(project=make_project("Other", "other"), user=ravi.user, is_researcher=True)
    assert call(secret, project="other")[0] == 404


@pytest.mark.parametrize("wrong", [None, "", "wst_guess", "a b", "\x00"])
def test_no_or_a_wrong_token_is_refused(secret: str, wrong: str | None) -> None:
    assert call(wrong)[0] in (401, 403)


def test_a_token_in_the_address_is_not_read(secret: str) -> None:
    assert call(None, address=f"/api/v1/x/?token={secret}&access_token={secret}")[0] in (401, 403)


def test_an_annotator_cannot_make_a_token_that_reads_models(ana: Membership) -> None:
    for scope in ("read", "deploy", "audit"):
        with pytest.raises(DomainError):
            create_token(membership=ana, name="x", scopes=[scope])
    create_token(membership=ana, name="x", scopes=["annotate"])


def test_the_page_shows_the_secret_once(as_ravi: Client) -> None:
    response = as_ravi.post("/p/house/tokens/", {"name": "nightly", "scopes": ["read"], "days": 30})
    assert b"wst_" in response.content
    secret = response.content.decode().split('value="wst_')[1].split('"')[0]
    page = as_ravi.get("/p/house/tokens/").content.decode()
    assert secret not in page
    assert "nightly" in page


@pytest.mark.parametrize(
    "data", [{"name": "x", "scopes": ["root"], "days": 1}, {"name": "x", "scopes": ["read"], "days": 9999}]
)
def test_bad_input_gives_the_form_back(as_ravi: Client, data: dict[str, Any]) -> None:
    assert as_ravi.post("/p/house/tokens/", data).status_code == 422
    assert not ApiToken.objects.exists()


def test_one_sees_and_revokes_only_ones_own(as_ana: Client, ana: Membership, secret: str) -> None:
    token = ApiToken.objects.get()
    assert b"gpu-host-nine" not in as_ana.get("/p/house/tokens/").content
    assert as_ana.post(f"/p/house/tokens/{token.key}/revoke/").status_code == 404
    assert call(secret)[0] == 200


def test_an_admin_revokes_anyones(as_ravi: Client, ravi: Membership) -> None:
    ben = join(ravi.project, "Ben", Role.ANNOTATOR)
    token, _ = create_token(membership=ben, name="ben's", scopes=["annotate"])
    assert as_ravi.post(f"/p/house/tokens/{token.key}/revoke/").status_code == 303
    token.refresh_from_db()
    assert token.revoked_at is not None
