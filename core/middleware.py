"""What every request passes: a number of its own, the sentence for a DomainError, and no copies of signed-in pages."""

import logging
import secrets
from collections.abc import Callable
from contextvars import ContextVar
from urllib.parse import quote

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import resolve_url
from django_htmx.http import HttpResponseClientRedirect

from core.errors import DomainError
from core.htmx import wants_fragment
from core.problems import problem_response, wants_json

GetResponse = Callable[[HttpRequest], HttpResponse]
_request_id: ContextVar[str] = ContextVar("request_id", default="-")


class RequestIdFilter(logging.Filter):
    """Give each log record the number of the request that it was written in."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = _request_id.get()
        return True


class RefusalFilter(logging.Filter):
    """What was refused is a line in the log; only what broke (5xx) keeps its stack trace."""

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(record, "status_code", 500) < 500:
            record.exc_info, record.exc_text = None, None
        return True


class RequestIdMiddleware:
    """Number the request. A number that comes from outside is ignored: it would end up in our log."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.request_id = secrets.token_hex(8)  # type: ignore[attr-defined]
        mark = _request_id.set(request.request_id)  # type: ignore[attr-defined]
        try:
            response = self.get_response(request)
        finally:
            _request_id.reset(mark)
        response.headers["X-Request-Id"] = request.request_id  # type: ignore[attr-defined]
        return response


class DomainErrorMiddleware:
    """Turn a DomainError into 422, a Conflict into 409: page, fragment or JSON with the sentence and the way on."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, DomainError):
            return None
        title = "This has changed in the meantime" if exception.status_code == 409 else "This cannot be done as asked"
        return problem_response(request, exception.status_code, exception.sentence, exception.how, title)


class SignedInPagesMiddleware:
    """Keep signed-in pages out of every cache, and send an htmx request whose session has ended to the sign-in page."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        user = getattr(request, "user", None)
        if user is not None and user.is_authenticated:
            response.headers["Cache-Control"] = "no-store"
        elif self._is_redirect_to_sign_in(response):
            return self._signed_out(request, response)
        return response

    @staticmethod
    def _is_redirect_to_sign_in(response: HttpResponse) -> bool:
        return response.status_code in (302, 303) and response.headers["Location"].startswith(
            resolve_url(settings.LOGIN_URL)
        )

    @staticmethod
    def _signed_out(request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if wants_fragment(request):
            # XMLHttpRequest would follow the redirect and swap the sign-in form into the middle of the page.
            # Afterwards the person wants the page again, not the fragment.
            page = request.htmx.current_url_abs_path or "/"  # type: ignore[attr-defined]
            return HttpResponseClientRedirect(f"{resolve_url(settings.LOGIN_URL)}?next={quote(page)}")
        if wants_json(request):
            return problem_response(request, 401, "Sign in first, or send a token.", "Authorization: Bearer <token>")
        return response
