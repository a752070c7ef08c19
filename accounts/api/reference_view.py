"""The API's reference as a page of the site: no script, nothing from elsewhere."""

from dataclasses import dataclass

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.api.reference import Group, document, groups_of


@dataclass(frozen=True)
class ReferencePage:
    groups: list[Group]
    n_operations: int


@login_required
@require_safe
def api_reference(request: HttpRequest) -> HttpResponse:
    groups = groups_of(document())
    page = ReferencePage(groups, sum(len(group.operations) for group in groups))
    return render(request, "accounts/api_reference.html", vars(page))
