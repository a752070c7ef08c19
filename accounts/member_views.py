"""Pages of a project's people: members and their terms, invitations one by one and by the list."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from urllib.parse import quote

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from accounts import invitations, members
from accounts import invite_many as lists
from accounts.access import membership_in, person, project_view
from accounts.forms import InvitationForm, InviteManyForm, MemberFilter, MemberForm
from accounts.invite_many import BadLine, IssuedLink, links_csv, read_people
from accounts.models import Invitation, Membership, Project, Role
from core.errors import DomainError
from core.htmx import posted, render_page, see_other

BYTE_ORDER_MARK = "\ufeff"  # without it some spreadsheets take UTF-8 for something else
ENDS_SOON = timedelta(days=14)


@dataclass(frozen=True)
class MemberRow:
    member: Membership
    state: str  # active · ending · expired · closed


@dataclass(frozen=True)
class MembersPage:
    project: Project
    rows: list[MemberRow]
    n_members: int
    filter: MemberFilter
    is_filtered: bool
    invitations: list[Invitation]
    form: InvitationForm
    me: Membership
    link: str = ""
    link_is_shared: bool = False


@dataclass(frozen=True)
class MemberPage:
    project: Project
    member: Membership
    form: MemberForm
    is_me: bool


@dataclass(frozen=True)
class InviteManyPage:
    project: Project
    form: InviteManyForm
    bad: list[BadLine] = field(default_factory=list)
    n_good: int = 0
    links: list[IssuedLink] = field(default_factory=list)
    days: int = 0

    @property
    def as_text(self) -> str:
        """To paste into a table: one line a person."""
        return "\n".join(f"{link.invitee.name}\t{link.url}" for link in self.links)

    @property
    def csv_url(self) -> str:
        """The file itself, in the page: nothing of it is kept on the server."""
        return f"data:text/csv;charset=utf-8,{quote(BYTE_ORDER_MARK + links_csv(self.links))}"


def _state(member: Membership) -> str:
    now = timezone.now()
    if not member.user.is_active:
        return "closed"
    if member.expires_at is None:
        return "active"
    return "expired" if member.expires_at <= now else "ending" if member.expires_at <= now + ENDS_SOON else "active"


def _matches(row: MemberRow, wanted: dict[str, str]) -> bool:
    member = row.member
    tests = {
        "q": lambda value: value.casefold() in f"{member.user} {member.user.username}".casefold(),
        "role": lambda value: value in member.roles,
        "group": lambda value: value in member.groups,
        "language": lambda value: value in member.languages,
        "state": lambda value: value == row.state or (value == "active" and row.state == "ending"),
    }
    return all(tests[name](value) for name, value in wanted.items())


def _members_page(
    request: HttpRequest, project: Project, form: InvitationForm, link: str = "", link_is_shared: bool = False
) -> MembersPage:
    everyone = [MemberRow(member, _state(member)) for member in members.members_of(project)]
    # A few hundred people at most: sets in JSON columns are filtered here, alike on both databases.
    groups = sorted({name for row in everyone for name in row.member.groups})
    languages = sorted({code for row in everyone for code in row.member.languages})
    chosen = MemberFilter(request.GET, groups=groups, languages=languages)
    wanted = chosen.wanted()
    usable = Invitation.objects.filter(project=project, revoked_at=None, expires_at__gt=timezone.now())
    return MembersPage(
        project=project,
        rows=[row for row in everyone if _matches(row, wanted)],
        n_members=len(everyone),
        filter=chosen,
        is_filtered=bool(wanted),
        invitations=[invitation for invitation in usable.order_by("-id") if invitation.n_uses < invitation.max_uses],
        form=form,
        me=membership_in(request),
        link=link,
        link_is_shared=link_is_shared,
    )


@require_http_methods(["GET", "POST"])
@project_view(Role.ADMIN)
def member_list(request: HttpRequest, project: Project) -> HttpResponse:
    """The members; a POST makes an invitation and shows its link once."""
    initial = {"roles": [Role.ANNOTATOR.value]}
    form = InvitationForm(posted(request), by=membership_in(request), initial=initial)
    link, is_shared, status = "", False, 200
    if request.method == "POST":
        if form.is_valid():
            made, path = invitations.invite(project=project, by=membership_in(request), **form.invitation())
            link, is_shared = request.build_absolute_uri(path), made.max_uses > 1
            form = InvitationForm(by=membership_in(request), initial=initial)
        else:
            status = 422
    ctx = _members_page(request, project, form, link, is_shared)
    return render_page(
        request, "accounts/members.html", "accounts/_members.html", ctx, status=status, no_store=bool(link)
    )


@require_http_methods(["GET", "POST"])
@project_view(Role.ADMIN)
def invite_many(request: HttpRequest, project: Project) -> HttpResponse:
    """A list of people; a POST makes a link for each and shows all of them once, or says what is wrong line by line."""
    initial = {"roles": [Role.ANNOTATOR.value]}
    form = InviteManyForm(posted(request), request.FILES or None, by=membership_in(request), initial=initial)
    ctx = InviteManyPage(project=project, form=form)
    if request.method == "POST" and form.is_valid():
        ctx = _invited(request, project, form)
    status = 200 if request.method == "GET" or ctx.links else 422
    return render_page(
        request, "accounts/invite_many.html", "accounts/_invite_many.html", ctx, status=status, no_store=True
    )


def _invited(request: HttpRequest, project: Project, form: InviteManyForm) -> InviteManyPage:
    given = form.cleaned_data
    try:
        found = read_people(given["text"], roles=given["roles"], terms=form.terms(), by=membership_in(request))
        if found.bad:
            return InviteManyPage(project=project, form=form, bad=found.bad, n_good=len(found.people))
        made = lists.invite_many(found.people, by=membership_in(request), days=given["days"])
    except DomainError as problem:
        form.add_error("file" if given["file"] else "people", problem.words)
        return InviteManyPage(project=project, form=form)
    links = [IssuedLink(invitee, request.build_absolute_uri(path)) for invitee, path in made]
    return InviteManyPage(project=project, form=form, links=links, days=given["days"])


@require_http_methods(["GET", "POST"])
@project_view(Role.ADMIN)
def member(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    found = get_object_or_404(members.members_of(project), user__key=key)
    initial = {
        "roles": [role.value for role in found.roles],
        "groups": ", ".join(found.groups),
        "languages": ", ".join(found.languages),
        "until": timezone.localtime(found.expires_at).date() if found.expires_at else None,
    }
    form = MemberForm(posted(request), by=membership_in(request), initial=initial)
    if request.method == "POST" and form.is_valid():
        roles, terms = form.cleaned_data["roles"], form.terms()
        if "until" not in form.changed_data:  # the page knows days only; the moment stays
            terms = replace(terms, until=found.expires_at)
        with transaction.atomic():
            if roles != found.roles:
                members.change_roles(membership=found, roles=roles, by=membership_in(request))
            members.change_terms(membership=found, terms=terms, by=membership_in(request))
        messages.success(request, f"The membership of {found.user} is saved.")
        return see_other(request, reverse("project:members", args=[project.slug]))
    ctx = MemberPage(project=project, member=found, form=form, is_me=found.user_id == membership_in(request).user_id)
    status = 422 if form.errors else 200
    return render_page(request, "accounts/member.html", "accounts/_member.html", ctx, status=status)


@require_POST
@project_view(Role.ADMIN)
def member_remove(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    found = get_object_or_404(members.members_of(project), user__key=key)
    members.remove_member(membership=found, by=membership_in(request))
    messages.success(request, f"{found.user} is no longer a member. What they judged stays.")
    return see_other(request, reverse("project:members", args=[project.slug]))


@require_POST
@project_view(Role.ADMIN)
def invitation_revoke(request: HttpRequest, project: Project, key: str) -> HttpResponse:
    invitations.revoke_invitation(get_object_or_404(Invitation, project=project, key=key), by=person(request))
    messages.success(request, "The invitation is withdrawn.")
    return see_other(request, reverse("project:members", args=[project.slug]))
