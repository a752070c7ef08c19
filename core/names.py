"""Names that people give: one line, without signs that make it read otherwise than it is written."""

import re

from core.errors import require

MAX_NAME = 100
# Control characters, and those that turn the direction of text. Marks that scripts need (joiners, LRM, RLM) stay.
_HIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff]")


def plain(name: str, what: str) -> str:
    """The name of ``what``, its spaces closed up. Raises DomainError for none, for one too long, and for hidden signs in it."""
    name = " ".join(name.split())
    require(name, f"Give the {what} a name.")
    require(len(name) <= MAX_NAME, f"The name of the {what} has {len(name):,} characters; at most {MAX_NAME} fit.")
    require(not _HIDDEN.search(name), f"The name of the {what} holds signs that are not seen.", how="Type it anew.")
    return name
