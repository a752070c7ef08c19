"""One's own past judgements: found by their words, page by page. What may be done with them is in ``annotation.judge``."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet

from annotation.models import Annotator, Assignment, Campaign, ComparisonTask, Judgement, TaskCandidate
from annotation.protocol import Said
from annotation.rows import saids_of

PER_PAGE = 25
MAX_WORDS, MAX_WORD = 8, 100
MOST_FOUND = 2_000  # of a search: the latest


@dataclass(frozen=True, slots=True)
class Past:
    """One judged task. ``prompt`` is the last thing asked; ``answers`` are the texts in the order in which they were shown."""

    turn: Assignment
    said: Said
    prompt: str
    answers: tuple[str, ...]
    may_correct: bool


@dataclass(frozen=True, slots=True)
class PastPage:
    rows: tuple[Past, ...]
    n: int
    page: int
    n_pages: int
    is_cut: bool = False  # there are more than a search looks at


def past_judgements(
    annotator: Annotator, *, campaign: Campaign | None = None, query: str = "", page: int = 1
) -> PastPage:
    """This person's standing judgements, the latest first.

    query  words that all have to occur, somewhere in the prompt, the answers, or what the person wrote
    Without words a page costs the same however many judgements there are.
    """
    turns = Assignment.objects.filter(
        annotator=annotator, status=Assignment.Status.SUBMITTED, purpose=Assignment.Purpose.WORK, current__isnull=False
    )
    if campaign is not None:
        turns = turns.filter(task__campaign=campaign)
    words = [word[:MAX_WORD].lower() for word in query.split()[:MAX_WORDS]]
    turns = turns.order_by("-finished_at", "-id")
    is_cut = False
    if words:
        found = _found(turns, words)
        is_cut, n = len(found) >= MOST_FOUND, len(found)
    else:
        n = turns.count()
    n_pages = max(1, -(-n // PER_PAGE))
    page = min(max(1, page), n_pages)
    here = slice((page - 1) * PER_PAGE, page * PER_PAGE)
    pks = found[here] if words else list(turns.values_list("pk", flat=True)[here])
    return PastPage(_rows(pks), n, page, n_pages, is_cut)


def _found(turns: QuerySet[Assignment], words: Sequence[str]) -> list[int]:
    """Those in which every word occurs: the database leaves out most of the others, the texts themselves decide."""
    likely = turns
    for word in words:
        answers = TaskCandidate.objects.filter(_in_text("candidate__text", word), task=OuterRef("task"))
        own = _in_text("current__comment", word) | _in_text("current__write_in", word)
        likely = likely.filter(_in_messages(word) | own | Exists(answers))
    rows = list(
        likely.values_list("pk", "task_id", "task__prompt__messages", "current__comment", "current__write_in")[
            :MOST_FOUND
        ]
    )
    texts: dict[int, list[str]] = defaultdict(list)
    slots = TaskCandidate.objects.filter(task__in=[task for _, task, *_ in rows])
    for task, text in slots.values_list("task_id", "candidate__text"):
        texts[task].append(text)
    found = []
    for pk, task, messages, comment, write_in in rows:
        said = [str(message.get("content", "")) for message in messages]
        whole = "\n".join([*said, comment, write_in, *texts[task]]).lower()
        if all(word in whole for word in words):
            found.append(pk)
    return found


def _forms(word: str) -> set[str]:
    """SQLite knows the case of letters only within ASCII."""
    return {word} if connection.vendor == "postgresql" else {word, word.upper(), word.capitalize()}


def _in_text(name: str, word: str) -> Q:
    return reduce(or_, [Q(**{f"{name}__icontains": form}) for form in _forms(word)])


def _in_messages(word: str) -> Q:
    """A word in stored messages: PostgreSQL keeps them as they are, SQLite writes letters beyond ASCII as escapes."""
    is_plain = connection.vendor == "postgresql"
    escaped = [json.dumps(form, ensure_ascii=not is_plain)[1:-1] for form in _forms(word)]
    return reduce(or_, [Q(task__prompt__messages__icontains=form) for form in escaped])


def _rows(pks: Sequence[int]) -> tuple[Past, ...]:
    turns = Assignment.objects.select_related("task__campaign", "task__prompt", "current__assignment", "annotator")
    by_pk = {turn.pk: turn for turn in turns.filter(pk__in=pks)}
    in_order = [by_pk[pk] for pk in pks if pk in by_pk]
    judgements: list[Judgement] = [turn.current for turn in in_order if turn.current is not None]
    said = saids_of(judgements)
    texts: dict[int, dict[int, str]] = defaultdict(dict)
    slots = TaskCandidate.objects.filter(task__in={turn.task_id for turn in in_order})
    for task, slot, text in slots.values_list("task_id", "slot", "candidate__text"):
        texts[task][slot] = text
    return tuple(
        Past(
            turn=turn,
            said=said[turn.current_id],  # type: ignore[index]
            prompt=turn.task.prompt.last_turn,
            answers=tuple(texts[turn.task_id][slot] for slot in turn.display_order),
            may_correct=may_correct(turn),
        )
        for turn in in_order
    )


def may_correct(turn: Assignment) -> bool:
    """Whether its author can still say something else; ``correct_judgement`` decides."""
    is_live = turn.task.status != ComparisonTask.Status.RETIRED
    is_judged = turn.status == Assignment.Status.SUBMITTED
    return is_judged and is_live and turn.task.campaign.stage != Campaign.Stage.CLOSED
