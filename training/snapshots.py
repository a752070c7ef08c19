"""Freezing: which judgements are in is recorded in one consistent read; rows and files then follow from that record alone.

Recipe and recorded membership give the same bytes on every database, so a freeze that is killed is simply done again.
"""

import hashlib
import logging
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from django.db import IntegrityError, InterfaceError, OperationalError, transaction
from django.db.models import Exists, F, OuterRef, QuerySet
from django.db.models.functions import Now
from pydantic import BaseModel, ConfigDict, ValidationError

from accounts.audit import record
from accounts.models import Project, User
from annotation.building import REGRESSION
from annotation.models import Annotator, Assignment, Campaign, ComparisonTask, Judgement, RankedCandidate
from core import jobs
from core.errors import Conflict, DomainError, require
from core.ids import new_key
from core.storage import artifact_path, home, read_manifest, store_directory
from generation.models import Prompt
from training.formats.files import rows_sha256, stored_sha256, write_description, write_parquet, write_rows
from training.formats.preference import (
    SPLITS,
    Built,
    Counts,
    PairPolicy,
    Row,
    Split,
    Vote,
    line_of,
    rows_of_prompt,
    word_signature,
)
from training.models import Snapshot, SnapshotJudgement

ARTIFACT_KIND = "datasets"
ENOUGH_HOLDOUT_PROMPTS = 30
logger = logging.getLogger(__name__)

LEASE_SECONDS = 300
CHUNK = 500
FIRST_ROWS = 5
FILES = ("train.jsonl", "test.jsonl", "train.parquet", "test.parquet", "lineage.jsonl", "dataset.json", "manifest.json")

# Why something is not in the rows: what is counted, and the words for it.
REASONS: Mapping[str, tuple[str, str]] = {
    "ties": ("judgements", "a tie: neither answer is better"),
    "both_bad": ("judgements", "both answers are bad"),
    "contradictory": ("pairs", "people disagree, and neither answer has a majority"),
    "no_majority": ("pairs", "one answer is preferred, but not by more than half of the judgements"),
    "equal_texts": ("pairs", "both answers read the same"),
    "unblinded": ("judgements", "their author could have seen which model wrote an answer"),
    "simulated": ("judgements", "by simulated people"),
    "ai": ("judgements", "by a machine"),
    "withdrawn": ("judgements", "undone by their author"),
    "voided": ("judgements", "set aside by a reviewer"),
    "other_purpose": ("judgements", "practice, repeats and reviews"),
    "retired": ("judgements", "their task was taken out of the campaign"),
    "regression": ("judgements", "new against old: they measure a model, and are neither trained on nor tested with"),
}


class Selection(BaseModel):
    """Which judgements go in, of the campaigns chosen. Frozen into the snapshot."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    with_simulated: bool = False
    with_unblinded: bool = False
    with_ai: bool = False


@dataclass(frozen=True, slots=True)
class Member:
    judgement_id: int
    split: Split
    content_sha256: str


@dataclass
class Reading:
    """What one consistent read found: the members, and why the others are none."""

    members: list[Member] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    annotators: set[int] = field(default_factory=set)
    n_imported: int = 0


@dataclass(frozen=True)
class SnapshotPreview:
    """What a freeze would give now."""

    n_rows: int
    n_train: int
    n_test: int
    n_prompts: int
    n_holdout_prompts: int
    n_people: int
    n_judgements: int
    n_imported: int  # of the judgements: votes of people elsewhere
    dropped: tuple[tuple[str, int, str, str], ...]  # reason, how many, of what, in words
    agreement: float | None
    n_overlapping: int
    n_disputed: int
    first_rows: tuple[Row, ...]
    warnings: tuple[str, ...]


# --- reading ----------------------------------------------------------------------------------------------------------


def read_selection(given: Mapping[str, Any]) -> Selection:
    """Raises DomainError for an unknown setting."""
    try:
        return Selection.model_validate(dict(given))
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DomainError(f"This selection of judgements cannot be read: {where}: {first['msg']}.") from None


def read_policy(given: Mapping[str, Any]) -> PairPolicy:
    try:
        return PairPolicy.parse(given)
    except ValueError as problem:
        raise DomainError(str(problem)) from None


def freezable_campaigns(project: Project) -> QuerySet[Campaign]:
    """Campaigns that have been opened for judging, newest first."""
    stages = [Campaign.Stage.OPEN, Campaign.Stage.PAUSED, Campaign.Stage.CLOSED]
    return project.campaigns.filter(stage__in=stages).order_by("-id")


def read_judgements(project: Project, campaigns: Sequence[Campaign], selection: Selection) -> Reading:
    """The current judgement of every assignment, sorted into members and the rest. One statement, so one moment."""
    held_out = Prompt.objects.filter(set__project=project, split=Prompt.Split.HOLDOUT)
    prompt = "assignment__task__prompt"
    rows = (
        Judgement.objects.filter(assignment__task__campaign__in=list(campaigns), assignment__current=F("pk"))
        .annotate(
            group_is_held_out=Exists(held_out.filter(group_sha256=OuterRef(f"{prompt}__group_sha256"))),
            prompt_is_held_out=Exists(held_out.filter(content_sha256=OuterRef(f"{prompt}__content_sha256"))),
        )
        .values_list(
            "pk",
            "verdict",
            "source",
            "is_unblinded",
            "assignment__status",
            "assignment__purpose",
            "assignment__annotator_id",
            "assignment__annotator__kind",
            "assignment__task__status",
            "assignment__task__chosen_why",
            f"{prompt}__content_sha256",
            "group_is_held_out",
            "prompt_is_held_out",
        )
    )
    reading = Reading()
    tests: set[str] = set()
    for pk, verdict, source, unblinded, status, purpose, annotator, kind, task, chosen, content, *held in rows.iterator(
        chunk_size=2000
    ):
        why = _why_not(selection, verdict, source, unblinded, status, purpose, kind, task, chosen)
        if why:
            reading.left_out[why] += 1
            continue
        reading.annotators.add(annotator)
        reading.n_imported += source == Judgement.Source.IMPORT
        reading.members.append(Member(pk, "train", content))
        if any(held):
            tests.add(content)
    # Holdout wins: a prompt that is held out anywhere in the project is never trained on, whichever set it came from.
    reading.members = [
        Member(m.judgement_id, "test" if m.content_sha256 in tests else "train", m.content_sha256)
        for m in reading.members
    ]
    return reading


def _why_not(
    selection: Selection,
    verdict: str,
    source: str,
    is_unblinded: bool,
    status: str,
    purpose: str,
    kind: str,
    task: str,
    chosen_why: str,
) -> str:
    """The first reason why a judgement is no member; empty where it is one."""
    verdicts, sources = Judgement.Verdict, Judgement.Source
    if purpose != Assignment.Purpose.WORK:
        return "other_purpose"
    if verdict == verdicts.WITHDRAWN or (verdict != verdicts.VOIDED and status != Assignment.Status.SUBMITTED):
        return "withdrawn"
    if verdict == verdicts.VOIDED:
        return "voided"
    if task == ComparisonTask.Status.RETIRED:
        return "retired"
    if chosen_why == REGRESSION:
        return "regression"
    if not selection.with_simulated and (source == sources.SIMULATED or kind == Annotator.Kind.SIMULATED):
        return "simulated"
    if not selection.with_ai and (source == sources.AI or kind == Annotator.Kind.AI):
        return "ai"
    if not selection.with_unblinded and is_unblinded:
        return "unblinded"
    return ""


def recorded_members(snapshot: Snapshot) -> list[Member]:
    """The membership as it was recorded, whatever was judged, undone or voided since."""
    rows = snapshot.members.values_list(
        "judgement_id", "split", "judgement__assignment__task__prompt__content_sha256"
    ).iterator(chunk_size=2000)
    return [
        Member(judgement_id, "test" if split == "test" else "train", content) for judgement_id, split, content in rows
    ]


def votes_of(members: Iterable[Member]) -> Iterator[Vote]:
    """The members' judgements as votes, those of one prompt together, in the order of the prompts' hashes."""
    ordered = sorted(members, key=lambda member: (member.content_sha256, member.judgement_id))
    for start in range(0, len(ordered), CHUNK):
        chunk = {member.judgement_id: member for member in ordered[start : start + CHUNK]}
        judgements = {
            pk: (key, verdict, strength, levels, prompt_id, is_flipped)
            for pk, key, verdict, strength, levels, prompt_id, is_flipped in Judgement.objects.filter(
                pk__in=list(chunk)
            ).values_list(
                "pk",
                "key",
                "verdict",
                "strength",
                "assignment__task__campaign__strength_levels",
                "assignment__task__prompt_id",
                "assignment__task__campaign__chosen_is_worse",
            )
        }
        answers: dict[int, list[tuple[str, int]]] = {pk: [] for pk in chunk}
        ranks = RankedCandidate.objects.filter(judgement__in=list(chunk)).order_by(
            "judgement_id", "rank", "candidate__key"
        )
        for pk, text, rank in ranks.values_list("judgement_id", "candidate__text", "rank"):
            answers[pk].append((text, rank))
        prompt_ids = {row[4] for row in judgements.values()}
        prompts = dict(Prompt.objects.filter(pk__in=prompt_ids).values_list("pk", "messages"))
        for pk, member in chunk.items():
            key, verdict, strength, levels, prompt_id, is_flipped = judgements[pk]
            yield Vote(
                key=key,
                split=member.split,
                prompt_id=member.content_sha256,
                prompt=prompts[prompt_id],
                answers=_turned_round(answers[pk]) if is_flipped else answers[pk],
                verdict=verdict,
                strength=strength / levels if strength and levels else 0.0,
            )


def _turned_round(answers: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Where people were asked for the worse of two: the ranking as given is kept, and turned round only here."""
    worst = max((rank for _, rank in answers), default=1)
    return sorted(((text, worst + 1 - rank) for text, rank in answers), key=lambda row: row[1])


def build(members: Iterable[Member], policy: PairPolicy, counts: Counts) -> Iterator[Built]:
    """The dataset's rows, sorted by prompt and row; ``counts`` is complete when the last one has been taken."""
    words: dict[Split, set[str]] = {"train": set(), "test": set()}
    for _, votes in groupby(votes_of(members), key=lambda vote: vote.prompt_id):
        built = rows_of_prompt(votes, policy, counts)
        if built:
            words[built[0].split].add(word_signature(built[0].row["prompt"]))
        yield from built
    counts.near_duplicates = len(words["train"] & words["test"])


# --- preview ----------------------------------------------------------------------------------------------------------


def preview(
    *,
    project: Project,
    campaigns: Sequence[Campaign],
    selection: Mapping[str, Any] | None = None,
    pair_policy: Mapping[str, Any] | None = None,
) -> SnapshotPreview:
    """What a freeze of these campaigns would give at this moment. Writes nothing."""
    chosen, policy = read_selection(selection or {}), read_policy(pair_policy or {})
    reading = read_judgements(project, campaigns, chosen)
    counts = Counts()
    first: list[Row] = []
    for built in build(reading.members, policy, counts):
        if len(first) < FIRST_ROWS:
            first.append(built.row)
    totals = counts_json(reading.left_out, len(reading.annotators), counts, reading.n_imported)
    return SnapshotPreview(
        n_rows=sum(counts.rows.values()),
        n_train=counts.rows["train"],
        n_test=counts.rows["test"],
        n_prompts=sum(counts.prompts.values()),
        n_holdout_prompts=counts.prompts["test"],
        n_people=len(reading.annotators),
        n_judgements=len(reading.members),
        n_imported=reading.n_imported,
        dropped=dropped_in_words(totals),
        agreement=counts.agreement,
        n_overlapping=counts.n_overlapping,
        n_disputed=counts.n_disputed,
        first_rows=tuple(first),
        warnings=warnings_of(totals),
    )


def counts_json(left_out: Mapping[str, int], n_people: int, counts: Counts, n_imported: int = 0) -> dict[str, Any]:
    found = counts.as_json()
    if n_imported:
        found["imported"] = n_imported
    dropped = Counter(found["dropped"])
    dropped.update(left_out)
    return {**found, "people": n_people, "dropped": {reason: n for reason, n in sorted(dropped.items()) if n}}


def dropped_in_words(counts: Mapping[str, Any]) -> tuple[tuple[str, int, str, str], ...]:
    dropped = counts.get("dropped", {})
    return tuple((reason, dropped[reason], *REASONS[reason]) for reason in REASONS if dropped.get(reason))


def warnings_of(counts: Mapping[str, Any]) -> tuple[str, ...]:
    """What a researcher should know before training on it."""
    rows, prompts = counts.get("rows", {}), counts.get("prompts", {})
    found = []
    if rows.get("train", 0) + rows.get("test", 0) and not rows.get("train"):
        found.append("There is no pair to train on: all of them are held out.")
    if rows.get("train") and prompts.get("test", 0) < ENOUGH_HOLDOUT_PROMPTS:
        found.append(
            f"Only {prompts.get('test', 0)} held-out prompts are judged; under {ENOUGH_HOLDOUT_PROMPTS}, what is measured on "
            "them is too uncertain for a verdict."
        )
    if n := counts.get("near_duplicates"):
        found.append(
            f"{n} held-out prompts use the same words as one that is trained on, in another order or punctuation."
        )
    return tuple(found)


# --- freezing ---------------------------------------------------------------------------------------------------------


def start_freeze(
    *,
    project: Project,
    name: str,
    campaigns: Sequence[Campaign],
    selection: Mapping[str, Any] | None = None,
    pair_policy: Mapping[str, Any] | None = None,
    by: User | None,
) -> Snapshot:
    """Record a snapshot and queue its freeze.

    selection    fields of ``Selection``: with_simulated, with_unblinded, with_ai
    pair_policy  as ``PairPolicy``: aggregation
    Raises DomainError where nothing could go in, Conflict for a name that is taken.
    """
    chosen, policy = read_selection(selection or {}), read_policy(pair_policy or {})
    name = name.strip()[:100]
    require(name, "Give the dataset a name.")
    require(campaigns, "Choose at least one campaign whose judgements go in.")
    require(all(c.project_id == project.pk for c in campaigns), "That campaign belongs to another project.")
    reading = read_judgements(project, campaigns, chosen)
    if not reading.members:
        raise DomainError("There is no judgement to freeze.", how=_what_to_do(reading.left_out))
    try:
        with transaction.atomic():
            snapshot = Snapshot.objects.create(
                project=project,
                name=name,
                selection={**chosen.model_dump(), "campaigns": sorted(c.key for c in campaigns)},
                pair_policy=policy.stored(),
                unit="judgements",
                created_by=by,
            )
            snapshot.campaigns.set(campaigns)
            snapshot.events.create(before="", after=snapshot.status, by=by)
            detail = {"name": name, "campaigns": snapshot.selection["campaigns"]}
            record("dataset.freeze", user=by, project=project, subject=snapshot, detail=detail)
            jobs.enqueue_on_commit(snapshot)
    except IntegrityError:
        raise Conflict(f"There is a dataset called “{name}” already.", how="Choose another name.") from None
    return snapshot


def _what_to_do(left_out: Mapping[str, int]) -> str:
    """How the largest group of judgements that stayed out could come in."""
    if left_out.get("simulated"):
        return f"{left_out['simulated']} judgements are by simulated people: tick the box that lets them in."
    if left_out.get("unblinded"):
        return f"{left_out['unblinded']} judgements are not blind: tick the box that lets them in."
    return "Let people judge some answers first."


def run_freeze(snapshot_id: int) -> None:
    """Do a freeze from wherever it was left. Safe to call at any time, by any number of workers."""
    snapshot = Snapshot.objects.select_related("project").filter(pk=snapshot_id).first()
    token = jobs.claim(snapshot, seconds=LEASE_SECONDS) if snapshot else None
    if snapshot is None or token is None:
        return
    try:
        seal(snapshot)
        _write(snapshot, token)
    except _Lost:
        return
    except DomainError as problem:
        jobs.fail(snapshot, token, f"{problem.sentence} {problem.how}".strip())
    except OSError as problem:
        jobs.fail(
            snapshot, token, f"The files could not be written: {problem.strerror}. Free some disk space and try again."
        )
    except (OperationalError, InterfaceError):
        logger.exception("Snapshot %s goes back to the queue.", snapshot.key)
        jobs.release(
            snapshot, token, note="The database did not answer; the freeze goes on in a moment.", is_failure=True
        )
    except Exception as problem:
        logger.exception("Snapshot %s could not be frozen.", snapshot.key)
        sentence = f"The freeze stopped on something unexpected: {type(problem).__name__}. The log has the details."
        jobs.fail(snapshot, token, sentence)


class _Lost(Exception):
    """Another worker has the job, or it was cancelled."""


def seal(snapshot: Snapshot) -> None:
    """Record the membership, once: who comes second finds it recorded."""
    if snapshot.sealed_at is not None:
        return
    selection = Selection(**{name: snapshot.selection.get(name, False) for name in Selection.model_fields})
    reading = read_judgements(snapshot.project, list(snapshot.campaigns.all()), selection)
    with transaction.atomic():
        locked = Snapshot.objects.select_for_update(of=("self",)).get(pk=snapshot.pk)
        if locked.sealed_at is None:
            SnapshotJudgement.objects.bulk_create(
                (
                    SnapshotJudgement(snapshot=locked, judgement_id=m.judgement_id, split=m.split)
                    for m in reading.members
                ),
                batch_size=2000,
            )
            counts = {"left_out": dict(sorted(reading.left_out.items())), "people": len(reading.annotators)}
            counts["imported"] = reading.n_imported
            Snapshot.objects.filter(pk=snapshot.pk).update(
                sealed_at=Now(), counts=counts, total_steps=len(reading.members)
            )
    snapshot.refresh_from_db()


def _write(snapshot: Snapshot, token: str) -> None:
    counts = Counts()
    folder = home() / "freezing"
    for stale in folder.glob(f"{snapshot.key}-*"):  # of a worker that was killed, or whose lease is lost
        shutil.rmtree(stale, ignore_errors=True)
    directory = folder / f"{snapshot.key}-{new_key()}"
    directory.mkdir(parents=True)
    try:
        sha256 = write_rows(
            directory, _beating(snapshot, token, build(recorded_members(snapshot), _policy(snapshot), counts), counts)
        )
        left_out, n_people = snapshot.counts["left_out"], snapshot.counts["people"]
        totals = counts_json(left_out, n_people, counts, snapshot.counts.get("imported", 0))
        if not sum(counts.rows.values()):
            raise DomainError(
                "No judgement says that one answer is better than another, so there is no pair to freeze.",
                how="Let people judge more answers, then freeze again.",
            )
        write_parquet(directory)
        write_description(directory, recipe=_recipe(snapshot), counts=totals, sha256=sha256)
        artifact_sha256 = store_directory(ARTIFACT_KIND, directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    totals = {**totals, "left_out": left_out}
    n_rows = sum(counts.rows.values())
    jobs.beat(snapshot, token, step=snapshot.total_steps, seconds=LEASE_SECONDS)
    jobs.finish(
        snapshot, token, message=f"{n_rows:,} rows", counts=totals, sha256=sha256, artifact_sha256=artifact_sha256
    )


def _beating(snapshot: Snapshot, token: str, rows: Iterator[Built], counts: Counts) -> Iterator[Built]:
    for number, built in enumerate(rows):
        if number % 1000 == 0:
            beat = jobs.beat(snapshot, token, seconds=LEASE_SECONDS, step=sum(counts.judgements.values()))
            if beat.cancel:
                jobs.cancelled(snapshot, token, message="Cancelled")
            if beat.cancel or not beat.alive:
                raise _Lost
        yield built


def _policy(snapshot: Snapshot) -> PairPolicy:
    return PairPolicy.parse(snapshot.pair_policy)


def _recipe(snapshot: Snapshot) -> dict[str, Any]:
    return {"selection": snapshot.selection, "pair_policy": snapshot.pair_policy}


def freeze_again(snapshot: Snapshot, *, by: User) -> None:
    """A person's "try again" of a freeze that came to nothing: the judgements are read anew."""
    with transaction.atomic():
        jobs.requeue(snapshot, by=by)
        snapshot.members.all().delete()
        Snapshot.objects.filter(pk=snapshot.pk).update(sealed_at=None, counts={})
        record("dataset.retry", user=by, project=snapshot.project, subject=snapshot)


def cancel_freeze(snapshot: Snapshot, *, by: User) -> None:
    with transaction.atomic():
        jobs.request_cancel(snapshot, by=by)
        record("dataset.cancel", user=by, project=snapshot.project, subject=snapshot)


# --- what was frozen --------------------------------------------------------------------------------------------------


def directory_of(snapshot: Snapshot) -> Path:
    """Where a ready dataset's files lie. Raises DomainError if it is not ready, or its files are gone."""
    require(snapshot.is_ready, f"The dataset “{snapshot}” is not frozen yet.", how="Wait until it is.")
    read_manifest(ARTIFACT_KIND, snapshot.artifact_sha256)
    return artifact_path(ARTIFACT_KIND, snapshot.artifact_sha256)


def rebuilt_sha256(snapshot: Snapshot) -> str:
    """The hash that recipe and recorded membership give now; equal to ``snapshot.sha256`` for ever."""
    digests = {split: hashlib.sha256() for split in SPLITS}
    for built in build(recorded_members(snapshot), _policy(snapshot), Counts()):
        digests[built.split].update(line_of(built.row))
    return rows_sha256({split: digest.hexdigest() for split, digest in digests.items()})


def check_snapshot(snapshot: Snapshot) -> None:
    """Raises DomainError unless files, record and hash agree."""
    require(
        stored_sha256(directory_of(snapshot)) == snapshot.sha256,
        f"The files of “{snapshot}” no longer match their hash.",
        how="Restore them from a backup.",
    )
    require(
        rebuilt_sha256(snapshot) == snapshot.sha256,
        f"“{snapshot}” cannot be built again from what was recorded: a judgement, an answer or a prompt has been changed.",
    )
