"""Addresses inside the app. A page full of them asks Django's resolver for each form once, and not for each address."""

from functools import lru_cache

from django.urls import get_script_prefix, reverse

_MARK = "x-{}-x"  # passes where a slug or a key does


def address(name: str, *parts: str) -> str:
    """As ``reverse(name, args=parts)``, for routes whose parts are slugs and keys."""
    return _form(name, len(parts), get_script_prefix()).format(*parts)


@lru_cache(maxsize=512)
def _form(name: str, n_parts: int, prefix: str) -> str:
    marks = [_MARK.format(number) for number in range(n_parts)]
    found = reverse(name, args=marks)
    for number, mark in enumerate(marks):
        found = found.replace(mark, f"{{{number}}}")
    return found
