"""Groups, languages and the end of a membership on the members page; closing an account (R3, R4)."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts import invitations, members
from accounts.models import ApiToken, AuditEvent, Membership, Project, Role, SignInLink, User
from accounts.terms import Terms
from accounts.tokens import create_token
from annotation.assign import next_assignment
from annotation.models import Assignment
from annotation.people import annotator_for
from core.errors import DomainError
from tests.accounts.builders import HTMX, PASSWORD, join
from tests.annotation.builders import make_campaign

pytestmark = pytest.mark.django_db


def test_an_admin_edits_groups_languages_and_end(as_ravi: Client, ana: Membership) -> None:
    data = {
        "roles": ["annotator"],
        "groups": "health, night shift,health",
        "languages": "EN pt_BR",
        "until": "2099-01-02",
    }
    assert as_ravi.post(f"/p/house/members/{ana.user.key}/", data).status_code == 303
    ana.refresh_from_db()
    assert (ana.groups, ana.languages) == (["health", "night shift"], ["en", "pt-br"])
    assert timezone.localtime(ana.expires_at).isoformat()[:19] == "2099-01-02T23:59:59"
    event = AuditEvent.objects.get(action="member.terms")
    assert event.detail["groups"] == [[], ["health", "night shift"]]
    assert b'value="2099-01-02"' in as_ravi.get(f"/p/house/members/{ana.user.key}/").content


def test_saving_unchanged_changes_nothing(as_ravi: Client, ana: Membership) -> None:
    moment = timezone.now() + timedelta(days=3, seconds=7)
    Membership.objects.filter(pk=ana.pk).update(expires_at=moment)
    day = timezone.localtime(moment).date().isoformat()
    as_ravi.post(f"/p/house/members/{ana.user.key}/", {"roles": ["annotator"], "until": day})
    ana.refresh_from_db()
    assert ana.expires_at == moment
    assert not AuditEvent.objects.exists()


@pytest.mark.parametrize("data", [{"languages": "english please"}, {"until": "tomorrow"}, {"groups": "x" * 41}])
def test_what_cannot_be_is_refused_with_a_sentence(as_ravi: Client, ana: Membership, data: dict[str, str]) -> None:
    response = as_ravi.post(f"/p/house/members/{ana.user.key}/", {"roles": ["annotator"], **data})
    assert response.status_code == 422
    assert b"error-summary" in response.content
    ana.refresh_from_db()
    assert (ana.groups, ana.languages, ana.expires_at) == ([], [], None)


def test_nobody_moves_their_own_end_but_may_join_a_group(as_ravi: Client, ravi: Membership) -> None:
    join(ravi.project, "Ben", Role.ADMIN)
    page = f"/p/house/members/{ravi.user.key}/"
    roles = ["admin", "researcher"]
    assert as_ravi.post(page, {"roles": roles, "groups": "law"}).status_code == 303
    assert as_ravi.post(page, {"roles": roles, "until": "2099-01-01"}).status_code == 422
    ravi.refresh_from_db()
    assert (ravi.groups, ravi.expires_at) == (["law"], None)


def test_the_last_admin_has_no_end(ravi: Membership) -> None:
    boss = User.objects.create_superuser("boss")
    by = Membership(project=ravi.project, user=boss, is_admin=True)
    until = timezone.now() + timedelta(days=1)
    with pytest.raises(DomainError, match="last admin"):
        members.change_terms(membership=ravi, terms=Terms(until=until), by=by)
    join(ravi.project, "Ben", Role.ADMIN)
    members.change_terms(membership=ravi, terms=Terms(until=until), by=by)


def test_only_admins_change_terms(ravi: Membership, ana: Membership) -> None:
    with pytest.raises(DomainError):
        members.change_terms(membership=ravi, terms=Terms(groups=("x",)), by=ana)


def test_an_end_in_the_past_frees_at_once(project: Project, ravi: Membership, ana: Membership) -> None:
    turn = next_assignment(annotator_for(ana.user, project), make_campaign(project))
    members.change_terms(membership=ana, terms=Terms(until=timezone.now()), by=ravi)
    turn.refresh_from_db()
    assert turn.status == Assignment.Status.RELEASED


def test_the_page_finds_members(as_ravi: Client, ana: Membership) -> None:
    ben = join(ana.project, "Ben", Role.REVIEWER)
    Membership.objects.filter(pk=ana.pk).update(groups=["law"], languages=["de"])
    Membership.objects.filter(pk=ben.pk).update(expires_at=timezone.now() - timedelta(days=1))

    def found(query: str) -> set[str]:
        page = as_ravi.get(f"/p/house/members/?{query}", headers=HTMX).content.decode()
        return {name for name in ("Ana", "Ben", "Ravi") if f'<th scope="row">{name}' in page}

    assert found("") == {"Ana", "Ben", "Ravi"}
    assert found("group=law") == found("language=de") == found("q=AN") == found("role=annotator") == {"Ana"}
    assert found("state=expired") == found("role=reviewer") == {"Ben"}
    assert found("state=active") == {"Ana", "Ravi"}
    assert found("state=closed") == set()
    assert found("group=nosuch&user__password__startswith=p") == {"Ana", "Ben", "Ravi"}
    assert b"Nobody is like that" in as_ravi.get("/p/house/members/?q=zzz").content


def test_closing_an_account_frees_and_ends_everything(project: Project, ana: Membership, client: Client) -> None:
    campaign = make_campaign(project)
    turn = next_assignment(annotator_for(ana.user, project), campaign)
    token, _ = create_token(membership=ana, name="script", scopes=["annotate"])
    invitations.issue_sign_in_link(ana.user)
    client.login(username="ana", password=PASSWORD)
    assert client.get("/account/").status_code == 200
    boss = User.objects.create_superuser("boss")
    as_boss = Client()
    as_boss.force_login(boss)
    as_boss.post(f"/people/{ana.user.key}/active/", {"active": "no"})
    turn.refresh_from_db()
    assert turn.status == Assignment.Status.RELEASED
    assert ApiToken.objects.get(pk=token.pk).revoked_at is not None
    assert not SignInLink.objects.exists()
    assert client.get("/account/").status_code == 302
    as_boss.post(f"/people/{ana.user.key}/active/", {"active": "yes"})
    assert client.get("/account/").status_code == 302, "the old cookie must not work again"
    assert as_boss.get("/account/").status_code == 200
