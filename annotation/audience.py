"""Whom a campaign is for: people by name, else groups and languages. Nobody named means everybody who annotates."""

from accounts.models import Membership, Role
from annotation.models import Campaign


def is_for(campaign: Campaign, membership: Membership) -> bool:
    """Whether this member may be given tasks of the campaign.

    A person who is named is in. Of the others one has to be in one of the groups, if there are any, and to know one of the
    languages, if there are any; ``pt`` is known by who knows ``pt-br``. Where only people are named, nobody else is in.
    """
    if not membership.has(Role.ANNOTATOR):
        return False
    wanted = campaign.audience or {}
    people, groups, languages = (wanted.get(name) or [] for name in ("people", "groups", "languages"))
    if not (people or groups or languages) or membership.user.key in people:
        return True
    if not (groups or languages):
        return False
    names = {group.casefold() for group in membership.groups}
    in_group = not groups or any(group.casefold() in names for group in groups)
    return in_group and (not languages or any(_knows(membership, language) for language in languages))


def _knows(membership: Membership, language: str) -> bool:
    return any(code == language or code.startswith(f"{language}-") for code in membership.languages)
