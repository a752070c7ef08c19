"""What a file of votes looks like before it is imported: its form, its first rows, its columns."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from annotation.models import VoteImport
from annotation.votes.files import stored_path
from annotation.votes.formats import (
    MAPPED,
    Unrecognised,
    columns_of,
    first_objects,
    label_of,
    looked_at,
    read,
    recognise,
)
from annotation.votes.judged import Header, Judged
from annotation.votes.sources import mapped
from core.reading import BadRow
from core.tables import container_of

SHOWN_ROWS = 5


def format_of(stored: Path, filename: str, mapping: Mapping[str, Any], *, is_draft: bool) -> tuple[str, dict[str, str]]:
    """(format, mapping) of a file; a draft that no format knows waits for its mapping, with no format."""
    if mapping:
        return MAPPED, mapped.checked(mapping, columns_of(looked_at(stored, filename)[0]))
    try:
        return recognise(stored, filename).name, {}
    except Unrecognised as problem:
        if is_draft and problem.columns:
            return "", {}
        raise


@dataclass(frozen=True)
class Preview:
    """What a file looks like before it is imported: its first rows as they will be read."""

    label: str
    rows: tuple[Judged | BadRow, ...]
    columns: Mapping[str, list[str]] = field(
        default_factory=dict
    )  # name -> the first cells, of a table that may be mapped


def preview_of(job: VoteImport) -> Preview:
    """The first rows, and (of a table whose columns may be mapped) the columns with the beginnings of their cells."""
    path, label = stored_path(job), label_of(job.file_format)
    if not path.exists():
        return Preview(label, ())
    if job.file_format in ("", MAPPED):
        found = first_objects(path, container_of(path), SHOWN_ROWS)
        columns = {name: [_beginning(row[name]) for row in found if name in row] for name in columns_of(found)}
    else:
        columns = {}
    rows = (
        (row for row in read(path, job.file_format, job.mapping) if not isinstance(row, Header))
        if job.file_format
        else ()
    )
    return Preview(label, tuple(islice(rows, SHOWN_ROWS)), columns)


def _beginning(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"{text[:60]}…" if len(text) > 60 else text
