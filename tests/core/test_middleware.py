"""Errors with a sentence and a way on, as page, fragment and JSON; request numbers; what is said after a crash."""

import io
import json
import logging
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.utils.log import log_response
from django_htmx.middleware import HtmxDetails

from core.errors import Conflict, DomainError
from core.middleware import DomainErrorMiddleware, RefusalFilter, RequestIdFilter, RequestIdMiddleware
from core.problems import csrf_failure, forbidden, server_error


def make_request(address: str = "/x/", **headers: str) -> HttpRequest:
    request = RequestFactory().post(address, headers=headers)
    request.user = AnonymousUser()
    request.htmx = HtmxDetails(request)  # type: ignore[attr-defined]
    request.request_id = "abc123"  # type: ignore[attr-defined]
    return request


def handled(error: Exception, address: str = "/x/", **headers: str) -> HttpResponse:
    middleware = DomainErrorMiddleware(lambda request: HttpResponse())
    response = middleware.process_exception(make_request(address, **headers), error)
    assert response is not None
    return response


ERROR = DomainError("The dataset is <empty>.", how="Judge some pairs first.")


def test_a_domain_error_is_a_page_with_the_sentence_and_the_way_on() -> None:
    response = handled(ERROR)
    assert response.status_code == 422
    text = response.content.decode()
    assert "<html" in text
    assert "The dataset is &lt;empty&gt;." in text
    assert "Judge some pairs first." in text


def test_htmx_shows_it_above_the_page_and_leaves_the_form_alone() -> None:
    response = handled(ERROR, **{"HX-Request": "true"})
    assert response.status_code == 422
    assert b"<html" not in response.content
    assert response.headers["HX-Retarget"] == "#problem"


@pytest.mark.parametrize(("address", "headers"), [("/api/v1/runs/", {}), ("/x/", {"Accept": "application/json"})])
def test_a_script_gets_the_sentence_and_the_way_on(address: str, headers: dict[str, str]) -> None:
    response = handled(Conflict("Gone.", how="Reload."), address, **headers)
    assert response.status_code == 409
    assert json.loads(response.content) == {
        "error": "Gone.", "how": "Reload.", "fields": {}, "request_id": "abc123",
    }  # fmt: skip


def test_other_errors_are_left_to_django() -> None:
    assert (
        DomainErrorMiddleware(lambda request: HttpResponse()).process_exception(make_request(), ValueError("x")) is None
    )


def test_each_request_has_a_number_of_its_own_and_takes_none_from_outside() -> None:
    seen: list[str] = []

    def view(request: HttpRequest) -> HttpResponse:
        record = logging.LogRecord("x", logging.INFO, "", 0, "message", None, None)
        RequestIdFilter().filter(record)
        seen.append(record.request_id)  # type: ignore[attr-defined]
        return HttpResponse()

    middleware = RequestIdMiddleware(view)
    answers = [middleware(RequestFactory().get("/", headers={"X-Request-Id": "evil\n"})) for _ in range(2)]
    assert [answer.headers["X-Request-Id"] for answer in answers] == seen
    assert len(set(seen)) == 2
    assert all(number.isalnum() for number in seen)


@pytest.mark.parametrize(("status", "has_trace"), [(403, False), (404, False), (500, True)])
def test_a_refusal_is_a_line_in_the_log_and_a_crash_keeps_its_trace(status: int, has_trace: bool) -> None:
    stream, written = io.StringIO(), logging.getLogger("test of the log")
    handler = logging.StreamHandler(stream)
    handler.addFilter(RefusalFilter())
    written.addHandler(handler)
    try:
        log_response(
            "Refused: %s", "/x/", response=HttpResponse(status=status), logger=written, exception=ValueError("y")
        )
    finally:
        written.removeHandler(handler)
    assert stream.getvalue().startswith("Refused: /x/\n")
    assert ("ValueError" in stream.getvalue()) is has_trace


@pytest.mark.django_db
def test_an_unknown_address_says_so(client: Client) -> None:
    page = client.get("/nosuchpage/")
    assert page.status_code == 404
    assert b"There is nothing at this address" in page.content
    data = client.get("/api/v1/nosuchthing/")
    assert data.status_code == 404
    assert data.json()["error"].startswith("There is nothing at this address")


def test_a_librarys_exception_text_is_not_shown() -> None:
    assert b"/srv/secret" not in forbidden(make_request(), PermissionError("denied: /srv/secret")).content
    assert (
        b"Only researchers open projects."
        in forbidden(make_request(), Exception("Only researchers open projects.")).content
    )


def test_a_stale_form_says_what_to_do() -> None:
    response = csrf_failure(make_request(), "CSRF token missing.")
    assert response.status_code == 403
    assert b"Reload the page" in response.content
    assert b"CSRF token missing" not in response.content


@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}, {"Accept": "application/json"}])
def test_a_crash_shows_a_number_and_no_trace_without_touching_the_database(headers: dict[str, str]) -> None:
    response = server_error(make_request(**headers))
    assert response.status_code == 500
    assert b"abc123" in response.content
    assert b"Traceback" not in response.content


def test_a_crash_in_a_view_reaches_the_page(client: Client, monkeypatch: pytest.MonkeyPatch, db: Any) -> None:
    monkeypatch.setattr("accounts.views.SignInForm", lambda *_: 1 / 0)
    client.raise_request_exception = False
    response = client.get("/sign-in/")
    assert response.status_code == 500
    assert b"Something broke on our side" in response.content
    assert response.headers["X-Request-Id"].encode() in response.content
