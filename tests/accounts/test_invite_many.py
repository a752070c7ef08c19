"""Many people at once: a list becomes a link each, all or nothing; one link for a group; terms go with them."""

import csv
import io
import re
from datetime import timedelta
from urllib.parse import unquote

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from accounts import invitations
from accounts.invite_many import Invitee, IssuedLink, links_csv, read_people
from accounts.models import Invitation, Membership, Role
from accounts.terms import Terms
from core.errors import DomainError
from tests.accounts.builders import HTMX, PASSWORD, join

pytestmark = pytest.mark.django_db

PAGE = "/p/house/invitations/many/"
LIST = "name,roles,groups,languages,until\nMaria,,health; night shift,en;pt-BR,2099-03-31\nkofi@example.org,annotator;reviewer,,,\n"
FORM = {"roles": ["annotator"], "days": "14"}


def read(text: str, ravi: Membership, terms: Terms = invitations.NO_TERMS):
    return read_people(text, roles=[Role.ANNOTATOR], terms=terms, by=ravi)


def test_a_list_becomes_a_link_each_shown_once(as_ravi: Client, ravi: Membership) -> None:
    response = as_ravi.post(PAGE, {**FORM, "people": LIST, "groups": "law", "languages": "de"})
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    page = response.content.decode()
    links = dict.fromkeys(re.findall(r"http://testserver(/join/[\w-]+/)", page))
    assert len(links) == 2
    data = unquote(re.search(r'href="data:text/csv;charset=utf-8,([^"]*)"', page)[1]).removeprefix("\ufeff")
    rows = list(csv.DictReader(io.StringIO(data)))
    assert [row["name"] for row in rows] == ["Maria", "kofi@example.org"]
    assert rows[0]["link"].removeprefix("http://testserver") in links
    Client().post(next(iter(links)), {"username": "maria", "name": "Maria", "new_password": PASSWORD})
    maria = Membership.objects.get(user__username="maria")
    assert (maria.roles, maria.groups, maria.languages) == (
        {Role.ANNOTATOR},
        ["health", "night shift"],
        ["en", "pt-br"],
    )
    assert timezone.localtime(maria.expires_at).date().isoformat() == "2099-03-31"
    other = Invitation.objects.get(note="kofi@example.org")
    assert (sorted(other.roles), other.groups, other.languages) == (["annotator", "reviewer"], ["law"], ["de"])
    again = as_ravi.get(PAGE).content.decode()
    assert "/join/" not in again
    assert not any(token.split("/")[2] in str(list(Invitation.objects.values())) for token in links)


def test_one_bad_line_and_nothing_is_made(as_ravi: Client) -> None:
    text = "Ana\nBen,king\n\n,annotator\nAna\nBea,,,english!\nBob,,,,2001-01-01\nEve,,,,soon\nIda,,,,,,x\nOk,reviewer"
    response = as_ravi.post(PAGE, {**FORM, "people": text})
    assert response.status_code == 422
    assert not Invitation.objects.exists()
    page = response.content.decode()
    rows = re.findall(r'data-label="Line" class="is-number">(\d+)</td><td data-label="What is wrong">(.*?)</td>', page)
    assert [int(line) for line, _ in rows] == [2, 4, 5, 6, 7, 8, 9]
    said = " ".join(sentence for _, sentence in rows)
    for words in (
        "is no role",
        "name is missing",
        "stands in line 1",
        "no language code",
        "has passed",
        "is no date",
        "more cells",
    ):
        assert words in said
    assert "The other 2 are good." in page
    assert "Ben,king" in page  # what was pasted is still there


def test_a_file_and_a_fragment_work_too(as_ravi: Client) -> None:
    upload = SimpleUploadedFile("people.csv", b"\xef\xbb\xbf" + LIST.replace(",", "\t").encode())
    response = as_ravi.post(PAGE, {**FORM, "file": upload}, headers=HTMX)
    assert response.status_code == 200
    assert b"<html" not in response.content
    assert Invitation.objects.count() == 2


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"people": ""}, "Paste one person a line"),
        ({"people": "name,roles\n"}, "names nobody"),
        ({"people": "name,shoe\nAna,39"}, "no column “shoe”"),
        ({"people": "roles,groups\nannotator,x"}, "no column “name”"),
        ({"people": "Ana", "until": "2001-01-01"}, "has passed"),
        ({"people": "Ana", "languages": "klingon?"}, "no language code"),
        ({"people": "Ana", "file": SimpleUploadedFile("a.csv", b"\xff\xfe\x00")}, "no UTF-8"),
        ({"people": "Ana", "file": SimpleUploadedFile("a.csv", b"Ben")}, "not both"),
        ({"people": "\n".join(f"P{n}" for n in range(501))}, "500 at a time"),
        ({"people": "Ana", "roles": ["king"]}, "king"),
    ],
)
def test_what_is_no_list_is_refused(as_ravi: Client, fields: dict[str, object], words: str) -> None:
    response = as_ravi.post(PAGE, {**FORM, **fields})
    assert response.status_code == 422
    assert words in response.content.decode()
    assert not Invitation.objects.exists()


@pytest.mark.parametrize(
    "text", ["name;roles\nAna;annotator,reviewer", "roles\tname\nannotator|reviewer\tAna", 'Ana,"annotator, reviewer"']
)
def test_separators_and_the_order_of_columns_are_free(ravi: Membership, text: str) -> None:
    (ana,) = read(text, ravi).people
    assert (ana.name, ana.roles) == ("Ana", (Role.ANNOTATOR, Role.REVIEWER))


def test_a_name_and_an_e_mail_stand_together(ravi: Membership) -> None:
    found = read("name,email,groups\nAna,ana@example.org,law\nBen,,\n,cem@example.org,", ravi)
    assert [person.name for person in found.people] == ["Ana (ana@example.org)", "Ben", "cem@example.org"]
    with pytest.raises(DomainError, match="same name"):
        read("name,role,roles\nAna,annotator,", ravi)


def test_a_quoted_cell_may_span_lines_and_numbers_stay_right(ravi: Membership) -> None:
    found = read('name,groups\n"Ana","a\nb"\nBen,x\nBen,y', ravi)
    assert [person.terms.groups for person in found.people] == [("a", "b"), ("x",)]
    assert [(bad.line, bad.sentence) for bad in found.bad] == [(5, "Ben stands in line 4 already.")]


def test_nobody_invites_above_their_own_level(ravi: Membership, ana: Membership) -> None:
    assert read("Bea,admin", ravi).people[0].roles == (Role.ADMIN,)
    assert "Only an admin" in read("Bea,annotator", ana).bad[0].sentence


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1", "-1", "@x", "＝1"])
def test_the_download_holds_no_formula(name: str) -> None:
    invitee = Invitee(line=1, name=name, roles=(Role.ANNOTATOR,), terms=Terms(groups=("=1",)))
    (row,) = csv.DictReader(io.StringIO(links_csv([IssuedLink(invitee, "https://x/join/y/")])))
    assert row["name"] == f"'{name}"
    assert row["groups"] == "'=1"


def test_one_link_for_a_group(as_ravi: Client) -> None:
    data = {
        "roles": ["annotator"],
        "days": "7",
        "max_uses": "2",
        "note": "Night shift",
        "groups": "night, health",
        "languages": "en",
    }
    page = as_ravi.post("/p/house/members/", data).content.decode()
    assert "Invitation link for a group" in page
    link = re.search(r"http://testserver(/join/[\w-]+/)", page)[1]
    for name in ("ben", "bea", "bob"):
        Client().post(link, {"username": name, "name": name, "new_password": PASSWORD})
    joined = Membership.objects.exclude(user__username="ravi").order_by("pk")
    assert [(m.user.username, m.groups) for m in joined] == [("ben", ["night", "health"]), ("bea", ["night", "health"])]


# ---- an invitation to somebody who is a member already ----------------------------------------------------------------


def accept(ravi: Membership, member: Membership, *roles: Role, until_days: float | None = None) -> None:
    until = timezone.now() + timedelta(days=until_days) if until_days is not None else None
    _, path = invitations.invite(project=ravi.project, roles=roles, by=ravi, terms=Terms(("new",), ("en",), until))
    invitations.accept_invitation(path.rstrip("/").rsplit("/", 1)[1], user=member.user)
    member.refresh_from_db()


def test_an_expired_member_begins_anew(ravi: Membership) -> None:
    ben = join(ravi.project, "Ben", Role.ADMIN)
    Membership.objects.filter(pk=ben.pk).update(expires_at=timezone.now() - timedelta(days=1), groups=["old"])
    accept(ravi, ben, Role.ANNOTATOR, until_days=5)
    assert (ben.roles, ben.groups) == ({Role.ANNOTATOR}, ["new"])
    assert ben.expires_at and ben.expires_at > timezone.now()


def test_a_role_never_lasts_longer_than_it_was_given_for(ravi: Membership, ana: Membership) -> None:
    with pytest.raises(DomainError, match="another date"):
        accept(ravi, ana, Role.ADMIN, until_days=1)
    ben = join(ravi.project, "Ben", Role.ADMIN)
    Membership.objects.filter(pk=ben.pk).update(expires_at=timezone.now() + timedelta(days=1))
    with pytest.raises(DomainError):
        accept(ravi, ben, Role.ANNOTATOR)
    ben.refresh_from_db()
    assert ben.expires_at is not None
    assert {i.n_uses for i in Invitation.objects.all()} == {0}


def test_the_same_roles_for_longer_lengthen_a_membership(ravi: Membership, ana: Membership) -> None:
    Membership.objects.filter(pk=ana.pk).update(expires_at=timezone.now() + timedelta(days=1), groups=["old"])
    accept(ravi, ana, Role.ANNOTATOR, until_days=30)
    assert ana.expires_at and ana.expires_at > timezone.now() + timedelta(days=29)
    assert ana.groups == ["old", "new"]


def test_an_invitation_into_the_past_is_spent(client: Client, ravi: Membership) -> None:
    _, path = invitations.invite(project=ravi.project, roles=[Role.ANNOTATOR], by=ravi)
    Invitation.objects.update(member_until=timezone.now() - timedelta(seconds=1))
    assert client.get(path).status_code == 410
