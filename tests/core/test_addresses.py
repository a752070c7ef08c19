"""Addresses by form are those that Django's resolver gives."""

import pytest
from django.urls import NoReverseMatch, reverse, set_script_prefix

from core.addresses import address

ROUTES = ("assignment", "skip", "ask", "draft", "renew", "ahead", "leave", "undo", "correct", "start")


@pytest.mark.parametrize("route", ROUTES)
def test_an_address_is_what_the_resolver_says(route):
    parts = ["some-project", "abcDEF012345"]
    assert address(f"annotation:{route}", *parts) == reverse(f"annotation:{route}", args=parts)


def test_an_app_below_a_folder_has_addresses_of_its_own():
    parts = ["some-project", "abcDEF012345"]
    try:
        set_script_prefix("/stone/")
        assert address("annotation:skip", *parts) == reverse("annotation:skip", args=parts)
        assert address("annotation:skip", *parts).startswith("/stone/")
    finally:
        set_script_prefix("/")
    assert not address("annotation:skip", *parts).startswith("/stone/")


def test_an_unknown_route_is_none():
    with pytest.raises(NoReverseMatch):
        address("annotation:no-such-route", "a")
