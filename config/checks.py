"""Checks at the start: a database that may lose an acknowledged judgement is an error, not a surprise."""

import difflib
import logging
import os
from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, NotSupportedError, connections

from config.env import PREFIX, Env, unknown_names

logger = logging.getLogger(__name__)

POSTGRES_MUST_BE_ON = ("fsync", "full_page_writes", "synchronous_commit")
SQLITE_FULL = 2


@register(Tags.database)
def check_durability(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Every database keeps what it has acknowledged through a power cut."""
    messages: list[CheckMessage] = []
    for alias in databases or []:
        connection = connections[alias]
        try:
            if connection.vendor == "sqlite":
                messages += sqlite_messages(alias, *_sqlite_state(alias))
            elif connection.vendor == "postgresql":
                messages += postgres_messages(alias, _postgres_state(alias))
        except NotSupportedError as problem:  # Django's own sentence about the oldest version that it knows
            messages.append(Error(f"The database {alias!r} is too old. {problem}", id="whetstone.E005"))
        except DatabaseError as problem:
            messages.append(Error(f"The database {alias!r} does not answer: {problem}", id="whetstone.E001"))
    return messages


def refuse_forgetful_databases() -> None:
    """For the web server, which runs no checks by itself. Raises ImproperlyConfigured.

    A database that does not answer is only said: it may come up later, and then it is what it was.
    """
    messages = check_durability(None, databases=list(connections))
    for message in messages:
        if message.id == "whetstone.E001":
            logger.error("%s", message.msg)
    refused = [f"{message.msg} {message.hint or ''}".strip() for message in messages if message.id != "whetstone.E001"]
    connections.close_all()
    if refused:
        raise ImproperlyConfigured("\n".join(refused))


@register()
def check_names(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """A setting with a slip in its name would be silently ignored."""
    return name_messages(unknown_names(os.environ))


def name_messages(names: Sequence[str]) -> list[CheckMessage]:
    known = [f"{PREFIX}{name.upper()}" for name in Env.model_fields]
    messages: list[CheckMessage] = []
    for name in names:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {near[0]}?" if near else "docs/reference/settings.md lists the settings."
        messages.append(Warning(f"{name} is set but means nothing.", hint=hint, id="whetstone.W001"))
    return messages


def sqlite_messages(alias: str, journal: str, synchronous: int) -> list[CheckMessage]:
    messages: list[CheckMessage] = []
    # A database in memory has no journal on disk and promises nothing.
    if journal not in {"wal", "memory"}:
        messages.append(
            Error(
                f"The SQLite database {alias!r} does not use write-ahead logging (its journal is {journal!r}).",
                hint="Keep it on a local disk: network file systems cannot hold a write-ahead log.",
                id="whetstone.E002",
            )
        )
    if synchronous < SQLITE_FULL:
        messages.append(
            Error(
                f"The SQLite database {alias!r} may lose judgements in a power cut (synchronous is {synchronous}).",
                hint="Leave PRAGMA synchronous at FULL, as config/settings.py sets it.",
                id="whetstone.E003",
            )
        )
    return messages


def postgres_messages(alias: str, state: dict[str, str]) -> list[CheckMessage]:
    messages: list[CheckMessage] = []
    for name in POSTGRES_MUST_BE_ON:
        if state[name] in {"off", "local"} and not (name == "synchronous_commit" and state[name] == "local"):
            messages.append(
                Error(
                    f"The PostgreSQL database {alias!r} may lose judgements in a crash: {name} is {state[name]}.",
                    hint=f"Set {name} = on in postgresql.conf.",
                    id="whetstone.E004",
                )
            )
    return messages


def _sqlite_state(alias: str) -> tuple[str, int]:
    with connections[alias].cursor() as cursor:
        cursor.execute("PRAGMA journal_mode")
        journal = str(cursor.fetchone()[0])
        cursor.execute("PRAGMA synchronous")
        return journal, int(cursor.fetchone()[0])


def _postgres_state(alias: str) -> dict[str, str]:
    with connections[alias].cursor() as cursor:
        state = {}
        for name in POSTGRES_MUST_BE_ON:
            cursor.execute("SELECT current_setting(%s)", [name])
            state[name] = str(cursor.fetchone()[0])
        return state
