"""Template tags that every page may use: icons, status badges, spans of time, and text of strangers."""

import json
from collections.abc import Hashable
from datetime import timedelta
from functools import lru_cache
from typing import Any

from django import template
from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.template.loader import get_template
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString

from core import bundles
from core.rendering import render_markdown, render_plain

register = template.Library()

Look = tuple[str, str]  # tone, icon
QUIET: Look = ("", "circle")
LOOKS: dict[str, Look] = {
    **dict.fromkeys(("succeeded", "ready", "submitted", "complete", "completed", "done", "passed", "published"), ("is-good", "check")),
    **dict.fromkeys(("answered", "upheld"), ("is-good", "check")),
    **dict.fromkeys(("live", "active", "healthy", "accepted"), ("is-good", "dot")),
    **dict.fromkeys(("running", "loading", "deploying", "building", "generating", "canary", "started"), ("is-info", "play")),
    **dict.fromkeys(("open", "in_progress", "leased"), ("is-info", "dot")),
    **dict.fromkeys(("cancelling", "draining", "stopping", "held", "paused", "stale", "blocked"), ("is-warn", "alert")),
    **dict.fromkeys(("failed", "refused", "lost", "broken", "unhealthy", "rejected"), ("is-bad", "cross")),
    **dict.fromkeys(("queued", "waiting", "pending", "draft"), ("", "clock")),
    **dict.fromkeys(("cancelled", "abandoned", "voided", "revoked", "retired", "skipped", "expired"), ("", "ban")),
    **dict.fromkeys(("withdrawn", "dismissed"), ("", "ban")),
}  # fmt: skip


@register.simple_tag
@lru_cache(maxsize=256)
def icon(name: str, label: str = "") -> SafeString:
    """One symbol of ``static/img/icons.svg``: an ornament, or an image with a name where ``label`` is given."""
    href = f"{static('img/icons.svg')}#{name}"
    if label:
        return format_html('<svg class="icon" role="img" aria-label="{}"><use href="{}"></use></svg>', label, href)
    return format_html('<svg class="icon" aria-hidden="true"><use href="{}"></use></svg>', href)


@register.simple_tag
def bundle(name: str) -> str:
    """The address of a bundle of style sheets or scripts (``core.bundles``)."""
    return bundles.bundle_url(name)


@register.simple_tag
def pure(part: str, **values: Hashable) -> str:
    """A part that shows these values and nothing else (no request, no token), rendered once for each combination of them.

    For what many people are shown all day: the values have to be hashable, and equal ones have to look the same. What a
    template renders is marked safe by Django itself.
    """
    if settings.DEBUG:
        return get_template(part).render(values)
    return _rendered(part, tuple(values.items()))


@lru_cache(maxsize=256)
def _rendered(part: str, values: tuple[tuple[str, Hashable], ...]) -> str:
    return get_template(part).render(dict(values))


@register.simple_tag
def status_badge(status: str, label: str = "") -> SafeString:
    """A badge for the status of anything: colour, icon and the word."""
    tone, symbol = LOOKS.get(str(status), QUIET)
    words = label or str(status).replace("_", " ").capitalize()
    return format_html('<span class="badge {}">{}{}</span>', tone, icon(symbol), words)


@register.filter
def markdown(text: str | None) -> SafeString:
    """Text of a stranger as safe HTML, inside ``<div class="markdown">`` of the caller."""
    return render_markdown(text or "")


@register.filter
def plain(text: str | None) -> SafeString:
    """Text of a stranger, escaped, with hidden characters made visible; for ``.plain`` (white space kept)."""
    return render_plain(text or "")


@register.filter
def duration(value: Any) -> str:
    """Seconds (or a timedelta) in words: ``42 s``, ``3 min 20 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if value is None or value == "":
        return "–"
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if 0 < seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    for big, small, names in ((60, 1, "min s"), (3600, 60, "h min"), (86400, 3600, "d h")):
        if whole < big * {60: 60, 3600: 24}.get(big, 10**9):
            first, rest = divmod(whole, big)
            outer, inner = names.split()
            return f"{first} {outer} {rest // small} {inner}" if rest // small else f"{first} {outer}"
    return ""  # pragma: no cover


@register.filter
def percent(value: float | None, digits: int = 0) -> str:
    """A share between 0 and 1 as a percentage."""
    return "–" if value is None else f"{value * 100:.{digits}f} %"


@register.simple_tag
def json_data(value: Any, element_id: str) -> SafeString:
    """Figures for a script, as escaped JSON in a hidden element: htmx takes every script element out of what it swaps in."""
    return format_html('<div id="{}" hidden>{}</div>', element_id, json.dumps(value, cls=DjangoJSONEncoder))


@register.filter
def listed(value: Any) -> str:
    """A list in words: ``a, b, c``; names and values likewise; anything else as it is."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    return ", ".join(str(each) for each in value) if isinstance(value, list | tuple | set) else str(value)


@register.filter
def initials(name: str) -> str:
    """Up to two letters that stand for a person."""
    words = str(name).split()
    return "".join(word[0] for word in (words[:1] + words[-1:] if len(words) > 1 else words)).upper() or "?"
