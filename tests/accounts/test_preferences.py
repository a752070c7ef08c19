"""How a person works: defaults, checks, the page and the toggles' address."""

import pytest
from django.test import Client

from accounts import preferences
from accounts.models import Membership, User
from accounts.preferences import DEFAULTS
from core.errors import DomainError

pytestmark = pytest.mark.django_db
PAGE, SET = "/account/preferences/", "/account/preferences/set/"


def test_a_new_person_has_the_defaults(ana: Membership) -> None:
    assert preferences.read(ana.user) == DEFAULTS
    assert ana.user.preferences == {}


def test_only_what_differs_is_stored(ana: Membership) -> None:
    preferences.change(ana.user, font_size="large", equal_scroll="on")
    preferences.change(ana.user, font_size="normal", break_reminder_minutes="50")
    stored = User.objects.get(pk=ana.user.pk)
    assert stored.preferences == ana.user.preferences == {"equal_scroll": True, "break_reminder_minutes": 50}
    assert preferences.read(stored).break_reminder_minutes == 50


def test_a_stored_value_that_is_none_any_more_counts_as_its_default(ana: Membership) -> None:
    User.objects.filter(pk=ana.user.pk).update(preferences={"font_size": "gigantic", "layout": "stacked", "old": 1})
    assert preferences.read(User.objects.get(pk=ana.user.pk)) == preferences.Preferences(layout="stacked")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("font_size", "<b>"),
        ("layout", ""),
        ("submit_on_choice", "maybe"),
        ("break_reminder_minutes", "-1"),
        ("break_reminder_minutes", "soon"),
        ("break_reminder_minutes", 10**9),
        ("password", "x"),
    ],
)
def test_what_is_no_setting_is_refused(ana: Membership, name: str, value: object) -> None:
    with pytest.raises(DomainError):
        preferences.change(ana.user, **{name: value})
    assert User.objects.get(pk=ana.user.pk).preferences == {}


def test_the_page_saves_every_setting(as_ana: Client, ana: Membership) -> None:
    body = as_ana.get(PAGE).content.decode()
    for name in preferences.NAMES:
        assert f'name="{name}"' in body
    data = {
        "submit_on_choice": "on", "layout": "stacked", "font_size": "large", "text_width": "wide", "equal_scroll": "on",
        "show_diff": "on", "reduced_blur": "on", "break_reminder_minutes": "45",
    }  # fmt: skip
    assert as_ana.post(PAGE, data).status_code == 303
    stored = preferences.read(User.objects.get(pk=ana.user.pk))
    assert stored == preferences.Preferences(
        submit_on_choice=True,
        layout="stacked",
        font_size="large",
        text_width="wide",
        equal_scroll=True,
        show_diff=True,
        reduced_blur=True,
        break_reminder_minutes=45,
        is_active_time_on=False,
    )
    assert as_ana.post(PAGE, {**data, "break_reminder_minutes": "-3"}).status_code == 422


def test_a_toggle_sets_one_thing_and_says_nothing(as_ana: Client, ana: Membership) -> None:
    headers = {"HX-Request": "true"}
    assert as_ana.post(SET, {"layout": "stacked"}, headers=headers).status_code == 204
    assert as_ana.post(SET, {"font_size": "9000"}, headers=headers).status_code == 422
    assert as_ana.post(SET, {"is_superuser": "1"}, headers=headers).status_code == 422
    assert as_ana.get(SET).status_code == 405
    user = User.objects.get(pk=ana.user.pk)
    assert user.preferences == {"layout": "stacked"} and not user.is_superuser


def test_without_a_script_a_toggle_leads_back(as_ana: Client) -> None:
    response = as_ana.post(SET, {"layout": "stacked", "next": "/p/house/annotate/"})
    assert (response.status_code, response.headers["Location"]) == (303, "/p/house/annotate/")
    response = as_ana.post(SET, {"layout": "side", "next": "https://elsewhere.example/"})
    assert response.headers["Location"] == "/"
