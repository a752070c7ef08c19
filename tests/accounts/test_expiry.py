"""A membership with an end: from that moment it opens nothing, its tokens stop, and what its holder has open is freed."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts import invitations, members
from accounts.access import may, may_create_projects, projects_for
from accounts.models import Membership, Project, Role
from accounts.tokens import TokenAuthentication, create_token
from annotation.assign import next_assignment
from annotation.expiry import expire_leases
from annotation.models import Assignment
from annotation.people import annotator_for
from core.errors import DomainError
from tests.accounts.builders import join, make_user
from tests.annotation.builders import make_campaign
from tests.annotation.checks import violations

pytestmark = pytest.mark.django_db


def end(membership: Membership, *, seconds: float = -1) -> None:
    Membership.objects.filter(pk=membership.pk).update(expires_at=timezone.now() + timedelta(seconds=seconds))


def test_an_expired_membership_opens_nothing(as_ana: Client, ana: Membership) -> None:
    end(ana, seconds=60)
    assert as_ana.get("/p/house/tokens/").status_code == 200
    end(ana)
    assert as_ana.get("/p/house/tokens/").status_code == 404
    assert b"House answers" not in as_ana.get("/projects/").content
    assert not projects_for(ana.user).exists()


def test_who_may_do_what_behind_a_job_is_who_may_on_a_page(project: Project) -> None:
    olga, site_admin = make_user("Olga"), make_user("Root", is_superuser=True)
    admin, annotator = join(project, "Adam", Role.ADMIN), join(project, "Nora", Role.ANNOTATOR)
    assert may(admin.user, project, Role.RESEARCHER) and may(admin.user, project, Role.ADMIN)
    assert not may(admin.user, project, Role.ANNOTATOR)
    assert may(annotator.user, project) and not may(annotator.user, project, Role.RESEARCHER, Role.ADMIN)
    assert may(site_admin, project, Role.ADMIN) and not may(olga, project)
    end(admin)
    assert not may(admin.user, project, Role.ADMIN)


def test_an_expired_researcher_opens_no_project(ravi: Membership) -> None:
    assert may_create_projects(ravi.user)
    end(ravi)
    assert not may_create_projects(ravi.user)


def test_tokens_of_an_expired_membership_stop(ana: Membership) -> None:
    _, secret = create_token(membership=ana, name="script", scopes=["annotate"])
    assert TokenAuthentication._live_token(secret) is not None
    end(ana)
    assert TokenAuthentication._live_token(secret) is None


def test_the_tick_frees_what_an_expired_member_holds(project: Project, ana: Membership) -> None:
    campaign = make_campaign(project)
    turn = next_assignment(annotator_for(ana.user, project), campaign)
    assert turn is not None and expire_leases() == 0
    end(ana)
    assert expire_leases() == 1
    turn.refresh_from_db()
    assert turn.status == Assignment.Status.RELEASED
    assert violations(campaign) == []


def test_invitations_of_an_expired_admin_stop(client: Client, ravi: Membership) -> None:
    _, link = invitations.invite(project=ravi.project, roles=[Role.ANNOTATOR], by=ravi)
    end(ravi)
    assert client.get(link).status_code == 410


def test_an_expired_admin_is_no_other_admin(project: Project, ravi: Membership) -> None:
    end(join(project, "Ben", Role.ADMIN))
    by = join(project, "Bea", Role.ADMIN)
    members.remove_member(membership=by, by=ravi)
    with pytest.raises(DomainError, match="last admin"):
        members.remove_member(membership=ravi, by=by)
