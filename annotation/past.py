"""One's own past work, found by its words. What may be done with it is in ``annotation.judge``."""

from collections import defaultdict
from collections.abc import Sequence
from functools import reduce
from operator import or_

from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet

from annotation.models import Assignment, TaskCandidate
from generation.sampling import as_written

MAX_WORDS = 8  # that the database is asked about; the texts themselves are asked about all
MOST_FOUND = 2_000  # of a search: the first in the order of what is searched


def holding(turns: QuerySet[Assignment], words: Sequence[str]) -> tuple[list[int], bool]:
    """Numbers of the turns in which every word (lower case) occurs: in the prompt, an answer, or what the person wrote.

    The database leaves out most of the others, the texts themselves decide. True: there were more than a search looks at.
    """
    likely = turns
    for word in words[:MAX_WORDS]:
        answers = TaskCandidate.objects.filter(_in_text("candidate__text", word), task=OuterRef("task"))
        own = _in_text("current__comment", word) | _in_text("current__write_in", word)
        likely = likely.filter(_in_messages(word) | own | Exists(answers))
    columns = ("pk", "task_id", "task__prompt__messages", "current__comment", "current__write_in")
    rows = list(likely.values_list(*columns)[: MOST_FOUND + 1])
    texts: dict[int, list[str]] = defaultdict(list)
    slots = TaskCandidate.objects.filter(task__in=[task for _, task, *_ in rows])
    for task, text in slots.values_list("task_id", "candidate__text"):
        texts[task].append(text)
    found = []
    for pk, task, messages, comment, write_in in rows[:MOST_FOUND]:
        said = [str(message.get("content", "")) for message in messages]
        # Who skipped has no judgement, and so neither comment nor better answer.
        whole = "\n".join([*said, comment or "", write_in or "", *texts[task]]).lower()
        if all(word in whole for word in words):
            found.append(pk)
    return found, len(rows) > MOST_FOUND


def _forms(word: str) -> set[str]:
    """SQLite knows the case of letters only within ASCII."""
    return {word} if connection.vendor == "postgresql" else {word, word.upper(), word.capitalize()}


def _in_text(name: str, word: str) -> Q:
    return reduce(or_, [Q(**{f"{name}__icontains": form}) for form in _forms(word)])


def _in_messages(word: str) -> Q:
    needles = {needle[1:-1] for form in _forms(word) for needle in as_written(form)}
    return reduce(or_, [Q(task__prompt__messages__icontains=needle) for needle in sorted(needles)])
