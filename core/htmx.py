"""Pages and fragments from one view: the same frozen context gives a full page, or its part when htmx asks for it.

The template ``page.html`` extends ``base.html`` and includes the part; the part stands alone.
"""

from dataclasses import fields, is_dataclass
from typing import Any, Literal

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django_htmx.http import HttpResponseClientRedirect, trigger_client_event
from django_htmx.middleware import HtmxDetails

Tone = Literal["good", "warn", "bad", "info"]


def wants_fragment(request: HttpRequest) -> bool:
    """Whether htmx asked for a part: boosted links and restored history need the whole page."""
    htmx: HtmxDetails | None = getattr(request, "htmx", None)
    return bool(htmx) and htmx is not None and not htmx.boosted and not htmx.history_restore_request


def context_of(ctx: Any) -> dict[str, Any]:
    """The template's variables: each field of the dataclass by its name, and the whole as ``page`` for its properties."""
    if not is_dataclass(ctx) or isinstance(ctx, type):
        raise TypeError("A page's context is a frozen dataclass.")
    return {**{field.name: getattr(ctx, field.name) for field in fields(ctx)}, "page": ctx}


def render_page(
    request: HttpRequest, template: str, part: str, ctx: Any, status: int = 200, *, no_store: bool = False
) -> HttpResponse:
    """Render ``template``, or ``part`` of it for htmx.

    ctx       a frozen dataclass; its fields are the template's variables
    status    422 for a form with errors, 409 for a page that the world has overtaken: both are swapped in
    no_store  keep the answer out of every cache, the browser's too (secrets shown once)
    """
    response = render(request, part if wants_fragment(request) else template, context_of(ctx), status=status)
    patch_vary_headers(response, ("HX-Request",))
    if no_store:
        response.headers["Cache-Control"] = "no-store"
    return response


def posted(request: HttpRequest) -> QueryDict | None:
    """What a form is bound to: the posted fields, even where none was filled in; None where nothing was posted."""
    return request.POST if request.method == "POST" else None


def see_other(request: HttpRequest, url: str) -> HttpResponse:
    """Go on to ``url`` after a form: 303 for a browser, a client-side redirect for htmx (which would swap the page in)."""
    if wants_fragment(request):
        return HttpResponseClientRedirect(url)
    response = HttpResponseRedirect(url)
    response.status_code = 303
    return response


def toast(response: HttpResponse, message: str, tone: Tone = "good") -> HttpResponse:
    """Show a short message in the corner of the page that htmx is updating."""
    return trigger_client_event(response, "toast", {"message": message, "tone": tone})
