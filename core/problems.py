"""Pages for what went wrong: one sentence and a way on, as a page, a fragment or JSON. Used by the middleware and the URLconf."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.cache import patch_vary_headers

from core.htmx import context_of, wants_fragment

API_PREFIX = "/api/"


@dataclass(frozen=True)
class Problem:
    """What a problem page shows."""

    status: int
    title: str
    sentence: str
    how: str
    request_id: str


def wants_json(request: HttpRequest) -> bool:
    return request.path.startswith(API_PREFIX) or request.get_preferred_type(["text/html", "application/json"]) == (
        "application/json"
    )


def problem_json(problem: Problem, fields: Mapping[str, list[str]] | None = None) -> dict[str, Any]:
    """The one shape of an error; ``fields`` says what is wrong field by field."""
    return {
        "error": problem.sentence,
        "how": problem.how,
        "fields": dict(fields or {}),
        "request_id": problem.request_id,
    }


def problem_response(request: HttpRequest, status: int, sentence: str, how: str = "", title: str = "") -> HttpResponse:
    """Say what happened in the form that was asked for.

    A fragment is shown above the page, in ``#problem``, so that what a person has typed stays where it is.
    """
    problem = Problem(
        status=status,
        title=title or HTTPStatus(status).phrase.capitalize(),
        sentence=sentence,
        how=how,
        request_id=getattr(request, "request_id", ""),
    )
    response: HttpResponse
    if wants_json(request):
        response = JsonResponse(problem_json(problem), status=status)
    elif wants_fragment(request):
        response = render(request, "errors/_problem.html", context_of(problem), status=status)
        response.headers["HX-Retarget"] = "#problem"
        response.headers["HX-Reswap"] = "innerHTML show:window:top"
    else:
        response = render(request, "errors/problem.html", context_of(problem), status=status)
    patch_vary_headers(response, ("HX-Request", "Accept"))
    return response


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return problem_response(
        request,
        404,
        "There is nothing at this address, or it is not yours to see.",
        "Check the address, or ask an admin of the project to add you.",
        "Not found",
    )


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    # Our own sentences only: a library's exception text may say more than a person should read.
    sentence = str(exception) if str(exception).endswith(".") else "Your roles in this project do not allow this."
    return problem_response(request, 403, sentence, "An admin of the project can change your roles.", "Not allowed")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return problem_response(request, 400, "This request could not be read.", "Go back and try again.", "Bad request")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return problem_response(
        request,
        403,
        "This form was open too long, or did not come from this site.",
        "Reload the page and send it again. If it stays so, allow cookies for this site.",
        "Form not accepted",
    )


def server_error(request: HttpRequest) -> HttpResponse:
    """The last resort: touches neither database nor session, since one of them may be what failed."""
    request_id = getattr(request, "request_id", "")
    problem = Problem(
        status=500,
        title="Something broke on our side",
        sentence="The server met an error that it did not expect. Nothing half done was kept.",
        how="Try again in a moment. If it happens again, give the number below to whoever runs this site.",
        request_id=request_id,
    )
    if wants_json(request):
        return JsonResponse(problem_json(problem), status=500)
    template = "errors/_problem.html" if wants_fragment(request) else "errors/500.html"
    response = HttpResponse(render_to_string(template, context_of(problem)), status=500)
    response.headers["HX-Retarget"] = "#problem"
    response.headers["HX-Reswap"] = "innerHTML show:window:top"
    return response
