"""Builders for tests of imported votes."""

import io
import json
from pathlib import Path
from typing import Any

from accounts.models import Project
from annotation.models import VoteImport
from annotation.votes.job import run_import, start_import


def row(number: int = 1, **fields: Any) -> dict[str, Any]:
    """A judged pair with one vote."""
    made = {
        "prompt": f"What is {number} plus one?",
        "answers": [
            {"model": "One 7B", "text": f"It is {number + 1}."},
            {"model": "Two (13B)", "text": "I do not know."},
        ],
        "votes": [{"annotator": "7", "choice": "a", "order": "ba"}],
    }
    return {**made, **fields}


def vote(annotator: Any = "7", choice: str = "a", **fields: Any) -> dict[str, Any]:
    return {"annotator": annotator, "choice": choice, **fields}


def jsonl(*rows: Any) -> io.BytesIO:
    """Rows as a file; text and bytes are lines as they stand."""
    lines = [
        each if isinstance(each, bytes) else (each if isinstance(each, str) else json.dumps(each)).encode()
        for each in rows
    ]
    return io.BytesIO(b"".join(line + b"\n" for line in lines))


def import_votes(project: Project, *rows: Any, name: str = "votes", **options: Any) -> VoteImport:
    """The import of these rows (or of a file), run to its end."""
    upload: Any = rows[0] if len(rows) == 1 and isinstance(rows[0], Path) else jsonl(*rows)
    filename = upload.name if isinstance(upload, Path) else "v.jsonl"
    job = start_import(
        project=project, upload=upload, filename=filename, name=name, by=options.pop("by", None), **options
    )
    run_import(job.pk)
    job.refresh_from_db()
    return job
