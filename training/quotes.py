"""What else in a project holds a text that was just erased, letter by letter: listed, so that a person can decide.

Looked for while the text is still at hand, and kept as keys alone. A quotation with other letters, or of a part of the text, is not found.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from django.db.models import Q, QuerySet

from accounts.models import Project
from annotation.models import Judgement
from generation.models import Candidate, Prompt
from generation.prompt_views import searched

LEAST_CHARACTERS = 8  # of a text that is looked for: "Hi" stands everywhere
MOST_QUOTES = 100
MOST_TEXTS = 20


def quotes_of(project: Project, texts: Iterable[str]) -> list[dict[str, str]]:
    """``[{"what": "prompts" | "answers" | "judgements", "key"}]``, at most a hundred of each."""
    wanted = sorted({text for text in texts if len(text) >= LEAST_CHARACTERS}, key=len, reverse=True)[:MOST_TEXTS]
    found: list[dict[str, str]] = []
    for what, keys in (
        ("prompts", _prompts(project, wanted)),
        ("answers", _answers(project, wanted)),
        ("judgements", _judgements(project, wanted)),
    ):
        found += [{"what": what, "key": key} for key in islice(dict.fromkeys(keys), MOST_QUOTES)]
    return found


def _prompts(project: Project, texts: list[str]) -> Iterator[str]:
    rows = Prompt.objects.filter(set__project=project).order_by("pk")
    for text in texts:
        for key, messages in searched(rows, text).values_list("key", "messages").iterator(chunk_size=500):
            if any(text in message["content"] for message in messages):
                yield key


def _answers(project: Project, texts: list[str]) -> Iterator[str]:
    rows = Candidate.objects.filter(arm__job__project=project).order_by("pk")
    return _holding(rows, texts, "text")


def _judgements(project: Project, texts: list[str]) -> Iterator[str]:
    rows = Judgement.objects.filter(assignment__task__campaign__project=project).order_by("pk")
    return _holding(rows, texts, "write_in", "comment")


def _holding(rows: QuerySet[Any], texts: list[str], *names: str) -> Iterator[str]:
    """Keys of the rows one of whose columns holds one of the texts; SQLite finds more than asked, in other cases of letters."""
    for text in texts:
        where = Q()
        for name in names:
            where |= Q(**{f"{name}__contains": text})
        for key, *said in rows.filter(where).values_list("key", *names).iterator(chunk_size=500):
            if any(text in each for each in said):
                yield key
