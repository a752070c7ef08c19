"""Where something went: the datasets, and their rows, that hold what was said of a prompt, of an answer, or of a model's answers.

``training.lineage`` leads down from a model; this leads up, from anything that was judged. It reads the recorded membership, and
the frozen files for the rows.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson
from django.db.models import Count, Q, QuerySet

from annotation.models import Judgement
from core.errors import DomainError
from generation.models import Candidate, GenerationJob, ModelVersion, Prompt
from training.formats.files import LINEAGE, name_of
from training.lineage import trained_on
from training.models import Snapshot, SnapshotJudgement
from training.snapshots import directory_of

Thing = Prompt | Candidate | Judgement | ModelVersion
MOST_ROWS = 100


@dataclass(frozen=True)
class Holding:
    """One dataset that holds judgements of it, how many of them, and the versions that learnt from them."""

    snapshot: Snapshot
    n_train: int
    n_test: int
    versions: tuple[ModelVersion, ...]


@dataclass(frozen=True)
class HeldRow:
    """A row that holds it, and the judgements of it behind the row."""

    id: str
    split: str
    kind: str  # pair or unpaired
    judgements: tuple[str, ...]


def judgements_of(thing: Thing) -> QuerySet[Judgement]:
    """Every judgement of a task that shows it; of a judgement, itself."""
    return Judgement.objects.filter(_is_about(thing)).distinct()


def _is_about(thing: Thing) -> Q:
    task = "assignment__task"
    match thing:
        case Prompt():
            return Q(**{f"{task}__prompt": thing})
        case Candidate():
            return Q(**{f"{task}__slots__candidate": thing})
        case ModelVersion():
            return Q(**{f"{task}__slots__candidate__arm__model_version": thing})
    return Q(pk=thing.pk)


def jobs_telling(thing: Thing) -> list[GenerationJob]:
    """The jobs whose answers' models would be told by saying where it went: only a model's own."""
    if not isinstance(thing, ModelVersion):
        return []
    return list(GenerationJob.objects.filter(arms__model_version=thing, campaigns__isnull=False).distinct())


def holdings_of(thing: Thing) -> tuple[Holding, ...]:
    """The datasets that hold a judgement of it, oldest first."""
    members = SnapshotJudgement.objects.filter(judgement__in=judgements_of(thing).order_by().values("pk"))
    counted = members.order_by().values("snapshot").annotate(
        train=Count("pk", filter=Q(split="train")), test=Count("pk", filter=Q(split="test"))
    )  # fmt: skip
    counts = {row["snapshot"]: (row["train"], row["test"]) for row in counted}
    return tuple(
        Holding(each, *counts[each.pk], trained_on(each, "train" if counts[each.pk][0] else "test"))
        for each in Snapshot.objects.filter(pk__in=list(counts)).order_by("pk")
    )


def rows_holding(snapshot: Snapshot, thing: Thing, *, most: int = MOST_ROWS) -> tuple[list[HeldRow], bool]:
    """The first rows of a dataset that hold it, and whether there are more. Raises DomainError where its files are gone.

    A ranking gives many rows; of an answer or a model only those count whose own answers are its.
    """
    found = list(islice(_rows(snapshot, thing), most + 1))
    return found[:most], len(found) > most


def _rows(snapshot: Snapshot, thing: Thing) -> Iterator[HeldRow]:
    members = snapshot.members.filter(judgement__in=judgements_of(thing).order_by().values("pk"))
    keys = set(members.values_list("judgement__key", flat=True))
    texts = _texts(thing, snapshot)
    directory = directory_of(snapshot)
    with ExitStack() as stack:
        lineage = stack.enter_context((directory / LINEAGE).open("rb"))
        # The lineage's entries stand in the order of the rows, so that no row has to be looked for.
        files: dict[str, Any] = {}
        for line in lineage if keys else ():
            entry = orjson.loads(line)
            name = name_of(entry["split"], entry.get("kind", "pair"))
            if name not in files:
                files[name] = stack.enter_context((directory / f"{name}.jsonl").open("rb"))
            row = next(files[name], b"")
            of_it = tuple(part["key"] for part in entry["judgements"] if part["key"] in keys)
            if of_it and (texts is None or texts & _answers(row, entry["id"])):
                yield HeldRow(entry["id"], entry["split"], entry.get("kind", "pair"), of_it)


def _texts(thing: Thing, snapshot: Snapshot) -> set[str] | None:
    """The answers that a row must hold one of; None where its judgements say enough."""
    if isinstance(thing, Candidate):
        return {thing.text}
    if isinstance(thing, ModelVersion):
        held = Q(slots__task__assignments__judgements__memberships__snapshot=snapshot)
        return set(Candidate.objects.filter(held, arm__model_version=thing).values_list("text", flat=True))
    return None


def _answers(line: bytes, row_id: str) -> set[str]:
    row = orjson.loads(line) if line else {}
    if row.get("id") != row_id:
        raise DomainError("The dataset's lineage and its rows no longer match.", how="Restore its files from a backup.")
    return {message["content"] for name in ("chosen", "rejected", "completion") for message in row.get(name, ())}
