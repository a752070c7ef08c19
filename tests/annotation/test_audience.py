"""Whom a campaign is for."""

import pytest

from accounts.models import Membership, User
from annotation.audience import is_for
from annotation.models import Campaign

ANA = User(key="anaanaanaana")


@pytest.mark.parametrize(
    ("audience", "is_in"),
    [
        ({}, True),
        ({"groups": [], "people": []}, True),
        ({"people": ["anaanaanaana"]}, True),
        ({"people": ["benbenbenben"]}, False),
        ({"groups": ["Doctors"]}, True),
        ({"groups": ["lawyers"]}, False),
        ({"languages": ["pt"]}, True),
        ({"languages": ["pt-pt", "de"]}, False),
        ({"groups": ["doctors"], "languages": ["de"]}, False),
        ({"groups": ["doctors"], "languages": ["pt-br"]}, True),
        ({"people": ["anaanaanaana"], "groups": ["lawyers"]}, True),
        ({"people": ["benbenbenben"], "groups": ["doctors"]}, True),
    ],
)
def test_who_is_in(audience, is_in):
    ana = Membership(user=ANA, is_annotator=True, groups=["doctors"], languages=["en", "pt-br"])
    assert is_for(Campaign(audience=audience), ana) is is_in


def test_who_does_not_annotate_is_never_in():
    assert not is_for(Campaign(audience={}), Membership(user=ANA, is_admin=True))
