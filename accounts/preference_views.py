"""How a person works: the section of the account page, and the address that the annotate page's toggles post to."""

from dataclasses import asdict, dataclass

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from accounts import preferences
from accounts.access import person
from accounts.forms import PreferencesForm
from accounts.views import safe_next
from core.errors import require
from core.htmx import posted, render_page, see_other, wants_fragment
from core.problems import wants_json


@dataclass(frozen=True)
class PreferencesPage:
    form: PreferencesForm


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def work(request: HttpRequest) -> HttpResponse:
    user = person(request)
    form = PreferencesForm(posted(request), initial=asdict(preferences.read(user)))
    if request.method == "POST" and form.is_valid():
        preferences.change(user, **form.cleaned_data)
        messages.success(request, "Your way of working is saved.")
        return see_other(request, reverse("accounts:preferences"))
    status = 422 if form.errors else 200
    page = PreferencesPage(form=form)
    return render_page(request, "accounts/preferences.html", "accounts/_preferences.html", page, status=status)


@login_required
@require_POST
def set_some(request: HttpRequest) -> HttpResponse:
    """Set those settings that the form names: 204 for a script, back to ``next`` for a browser."""
    changes = preferences.from_fields(request.POST.dict())
    require(changes, "Nothing was sent that could be set.")
    preferences.change(person(request), **changes)
    if wants_fragment(request) or wants_json(request):
        return HttpResponse(status=204)
    return see_other(request, safe_next(request))
