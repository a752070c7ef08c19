"""What the page does by itself while a person works: keep a draft, renew the lease, fetch the next task, give it back."""

from contextlib import suppress

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from accounts.access import project_view
from accounts.models import Project, Role
from annotation.drafts import save_draft
from annotation.leases import prefetch_assignment, release_waiting, renew_lease
from annotation.models import Campaign
from annotation.views.access import turn_of
from annotation.views.parts import task_page, task_response


@require_POST
@project_view(Role.ANNOTATOR)
def draft(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """The form as it stands. 204 also where a later one stands already: the page has nothing to do about it."""
    me, turn = turn_of(request, project, key)
    number = request.POST.get("number", "")
    save_draft(
        assignment_key=turn.key,
        annotator=me,
        fields=request.POST,
        number=int(number) if number.isdecimal() and len(number) < 20 else 0,
    )
    return HttpResponse(status=204)


@require_POST
@project_view(Role.ANNOTATOR)
def renew(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """Seconds that the lease has now; 409 where the task is this person's no more."""
    me, turn = turn_of(request, project, key)
    until = renew_lease(assignment_key=turn.key, annotator=me)
    return JsonResponse({"seconds": max(0, round((until - timezone.now()).total_seconds()))})


@require_POST
@project_view(Role.ANNOTATOR)
def ahead(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """The task after this one, as it will be shown once this one is sent. 204: there is none now."""
    me, turn = turn_of(request, project, key)
    following = prefetch_assignment(me, turn.task.campaign)
    if following is None or following.pk == turn.pk:
        return HttpResponse(status=204)
    page = task_page(request, project, me, following, undo_key=turn.key, is_ahead=True)
    response = task_response(request, page)
    response.headers["HX-Replace-Url"] = reverse("annotation:assignment", args=[project.slug, following.key])
    return response


@require_POST
@project_view(Role.ANNOTATOR)
def leave(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    """The page is left: what was fetched ahead and never shown goes back."""
    me, turn = turn_of(request, project, key)
    with suppress(Campaign.DoesNotExist):  # deleted meanwhile, and with it whatever was held in it
        release_waiting(annotator=me, campaign=turn.task.campaign)
    return HttpResponse(status=204)
