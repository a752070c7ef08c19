"""Which formats of votes there are, and which one a file is: by its content, never by its name alone.

A format reads a file into rows of ``judged.Judged``; everything after that is the same for all. Another one is another entry
in ``FORMATS``, before those that would recognise its files too.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from annotation.votes import profile
from annotation.votes.judged import Row
from core.reading import HEAD_BYTES, UTF8_BOM, UnreadableFile, Unusable, decoded, parse_json, raw_lines
from generation.prompt_readers import NAMES, detect_format

LOOKED_AT = 20


@dataclass(frozen=True)
class Format:
    """One format. ``recognises`` looks at the first objects of a file of JSON Lines."""

    name: str
    label: str
    recognises: Callable[[list[Mapping[str, Any]]], bool]
    read: Callable[[Path], Iterator[Row]]


FORMATS: tuple[Format, ...] = (
    Format("votes", "Whetstone votes (JSON Lines)", profile.recognises, profile.read),
)  # fmt: skip


def format_named(name: str) -> Format:
    return next(each for each in FORMATS if each.name == name)


def recognise(path: Path, filename: str = "") -> Format:
    """The format of a file. Raises UnreadableFile with what it looks like instead, and what to do."""
    with path.open("rb") as file:
        if not file.read(HEAD_BYTES).strip(b" \t\r\n" + UTF8_BOM):
            raise UnreadableFile("The file is empty.", "Choose a file that holds votes.")
    container = detect_format(path, filename)
    if container != "jsonl":
        raise UnreadableFile(
            f"Votes come as JSON Lines; this looks like {NAMES[container]}.",
            "Write one judged task on each line as JSON.",
        )
    rows = list(_first_objects(path))
    for each in FORMATS:
        if each.recognises(rows):
            return each
    keys = sorted({key for row in rows for key in row})
    shown = ", ".join(key[:40] for key in keys[:12]) or "none"
    raise UnreadableFile(
        f"The lines are JSON, but no votes in a form that is known here. Their keys: {shown}.",
        "Each line needs a prompt, its answers and its votes.",
    )


def _first_objects(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open("rb") as file:
        for _, raw in islice(raw_lines(file), LOOKED_AT):
            try:
                value = parse_json(decoded(raw)) if raw is not None and raw.strip() else None
            except Unusable:
                continue
            if isinstance(value, dict):
                yield value
