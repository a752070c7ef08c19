"""Freezing: which judgements are in is recorded in one consistent read; rows and files then follow from that record alone.

Recipe and recorded membership give the same bytes on every database, so a freeze that is killed is simply done again.
"""

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from accounts.audit import record
from accounts.models import Project, User
from annotation.at_work import newest_event
from annotation.models import Assignment, Campaign
from core import jobs
from core.asking import Answers, answering
from core.beating import Keeper, attempt
from core.bulk import Rows, analyze, chunks, copy_log_back
from core.counting import counted
from core.errors import Conflict, DomainError, require
from core.names import plain
from core.storage import clear_workspace, remove_directory, store_directory, workspace
from core.undisturbed import undisturbed
from core.way import Way
from training.card import write_card
from training.formats.ballots import SPLITS, Counts, Split
from training.formats.files import RECORDS, RowFiles, write_description, write_near
from training.formats.policy import PairPolicy
from training.makeup import makeup_of
from training.models import Snapshot, SnapshotJudgement
from training.previewing import REASONS, counts_json
from training.records import head_of
from training.rows import Builder, facts_now, read_recipe, recipe_of, recorded_members, twins_among
from training.selecting import Member, Reading, has_members, read_members, read_selection
from training.snapshots import ARTIFACT_KIND, WORKSPACE

LEASE_SECONDS = 300  # of what beats before and after it only: one statement over all members, one file to the disk
ROWS_LEASE_SECONDS = 60.0  # of what beats each second
MANY = 4000  # judgements
LET_IN = ("simulated", "ai", "unblinded")  # by a box of the form, ``with_...`` of a selection
AT_ONCE = 20_000  # of them, recorded as members


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

    selection    fields of ``Selection``
    pair_policy  fields of ``PairPolicy``
    Raises DomainError where nothing could go in, Conflict for a name that is taken.
    """
    name = plain(name, "dataset")
    require(campaigns, "Choose at least one campaign whose judgements go in.")
    require(all(c.project_id == project.pk for c in campaigns), "That campaign belongs to another project.")
    campaigns, chosen, policy = read_recipe(project, campaigns, selection, pair_policy)
    reading = Reading()
    # One is enough here: what goes in is read when the membership is recorded.
    if not has_members(project, campaigns, chosen, reading):
        raise DomainError("There is no judgement to freeze.", how=_what_to_do(reading.left_out))
    try:
        with transaction.atomic():
            snapshot = Snapshot.objects.create(
                project=project,
                name=name,
                selection={**chosen.stored(), "campaigns": sorted(c.key for c in campaigns)},
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
    """Why most of the judgements stay out, and how they could come in."""
    if not left_out:
        return "Let people judge some answers first."
    reason = max(REASONS, key=lambda each: left_out.get(each, 0))  # of equal ones the first as listed
    n, (_, words) = left_out[reason], REASONS[reason]
    way = f" Tick the box that lets them in (with_{reason})." if reason in LET_IN else ""
    return f"{counted(n, 'judgement stays', 'judgements stay')} out: {words}.{way}"


def run_freeze(snapshot_id: int) -> None:
    """Do a freeze from wherever it was left. Safe to call at any time, by any number of workers."""
    snapshot = Snapshot.objects.select_related("project").filter(pk=snapshot_id).first()
    attempt(snapshot, _freeze, seconds=LEASE_SECONDS, what="The freeze")


def _freeze(snapshot: Snapshot, keeper: Keeper) -> None:
    _forget_files(snapshot)
    with undisturbed(), answering(apart=_is_large(snapshot)) as answers:
        seal(snapshot)
        _write(snapshot, keeper, answers)


def _forget_files(snapshot: Snapshot) -> None:
    """Delete what an earlier attempt left: what comes of this one may be other bytes, and then no row would name those."""
    clear_workspace(WORKSPACE, snapshot.key)
    sha256, others = snapshot.artifact_sha256, Snapshot.objects.exclude(pk=snapshot.pk)
    if sha256:
        remove_directory(ARTIFACT_KIND, sha256, is_wanted=others.filter(artifact_sha256=sha256).exists)
        Snapshot.objects.filter(pk=snapshot.pk).update(artifact_sha256="", first_artifact_sha256="")


def _is_large(snapshot: Snapshot) -> bool:
    """Whether a process that reads ahead is worth starting, before it is known what goes in."""
    judged = Assignment.objects.filter(task__campaign__in=snapshot.campaigns.all(), current__isnull=False)
    return judged[:MANY].count() == MANY


def seal(snapshot: Snapshot) -> None:
    """Record the membership, once: who comes second finds it recorded."""
    if snapshot.sealed_at is not None:
        return
    selection, policy = read_selection(snapshot.selection), PairPolicy.parse(snapshot.pair_policy)
    campaigns, reading = list(snapshot.campaigns.all()), Reading()
    with transaction.atomic():
        locked = Snapshot.objects.select_for_update(of=("self",)).get(pk=snapshot.pk)
        if locked.sealed_at is None:
            facts = facts_now(campaigns, selection, policy)
            ids: dict[Split, array[int]] = {split: array("q") for split in SPLITS}
            for member in read_members(snapshot.project, campaigns, selection, reading):
                ids[member.split].append(member.judgement_id)
            for split, of_split in ids.items():
                _insert(locked, split, of_split)
            counts = {
                "left_out": dict(sorted(reading.left_out.items())),
                "people": len(reading.annotators),
                "imported": reading.n_imported,
            }
            Snapshot.objects.filter(pk=snapshot.pk).update(
                sealed_at=Now(), counts=counts, total_steps=reading.n_members, facts=facts.stored()
            )
    copy_log_back()
    analyze(reading.n_members, SnapshotJudgement)
    snapshot.refresh_from_db()


def _insert(snapshot: Snapshot, split: Split, ids: "array[int]") -> None:
    """In the order of the judgements: each goes beside the one before it in every index, and so does what it refers to."""
    rows = Rows(SnapshotJudgement, "judgement_id", snapshot_id=snapshot.pk, split=split)
    ordered = array("q", np.sort(np.frombuffer(ids, np.int64)).tobytes())
    for some in chunks(ordered, AT_ONCE):
        rows.insert((pk,) for pk in some)


def _write(snapshot: Snapshot, keeper: Keeper, answers: Callable[..., Answers]) -> None:
    counts = Counts()
    with workspace(WORKSPACE, snapshot.key) as directory:
        recipe = recipe_of(snapshot)
        twins = twins_among(recorded_members(snapshot), recipe, beat=keeper.beat)
        makeup = makeup_of(snapshot)
        head, names = head_of(snapshot, makeup)
        builder = Builder(recipe, counts, twins=twins, names=names)
        sha256 = _write_files(directory, head, recorded_members(snapshot), keeper, builder, answers)
        left_out, n_people = snapshot.counts["left_out"], snapshot.counts["people"]
        totals = counts_json(left_out, n_people, counts, snapshot.counts.get("imported", 0))
        if not sum(counts.rows.values()) + sum(counts.unpaired.values()):
            raise _no_rows(counts.dropped)
        write_near(directory, builder.across)
        write_description(directory, recipe=_recipe(snapshot), counts=totals, sha256=sha256)
        write_card(directory, snapshot, makeup, counts=totals, sha256=sha256)
        # Noted before it lies there: an erasure finds the files by their row, wherever a kill or a cancel may fall.
        store_directory(ARTIFACT_KIND, directory, take=True, note=lambda sha256: keeper.beat(artifact_sha256=sha256))
    totals = {**totals, "left_out": left_out}
    n_rows = sum(counts.rows.values())
    keeper.beat(step=snapshot.total_steps)
    keeper.finish(message=counted(n_rows, "row"), counts=totals, sha256=sha256)


def _no_rows(dropped: Mapping[str, int]) -> DomainError:
    cut = [reason for reason in REASONS if dropped.get(reason) and REASONS[reason][0] != "judgements"]
    if not cut:
        return DomainError(
            "No judgement says that one answer is better than another, so there is no pair to freeze.",
            how="Let people judge more answers, then freeze again.",
        )
    reason = max(cut, key=lambda each: dropped[each])
    what, words = REASONS[reason]
    return DomainError("The recipe leaves no row.", how=f"What stays out most: {dropped[reason]:,} {what}, {words}.")


def _write_files(
    directory: Path,
    head: bytes,
    members: Iterable[Member],
    keeper: Keeper,
    builder: Builder,
    answers: Callable[..., Answers],
) -> str:
    """The rows, their lineage and the full format, in one walk over the judgements; returns the dataset's hash."""
    way = Way(0, polite=0, others=newest_event)
    with RowFiles(directory, with_unpaired=builder.recipe.policy.unpaired, extra=RECORDS) as files:
        files.add_extra(head)
        with keeper.often(ROWS_LEASE_SECONDS):
            for chunk in builder.reader.chunks(members, answers):
                way.give()
                keeper.beat_at_times(step=sum(builder.counts.judgements.values()))
                for built in builder.rows(chunk):
                    files.add(built)
                files.add_extra(chunk.lines)
    builder.finish()
    return files.sha256


def _recipe(snapshot: Snapshot) -> dict[str, Any]:
    return {"selection": snapshot.selection, "pair_policy": snapshot.pair_policy}


def freeze_again(snapshot: Snapshot, *, by: User) -> None:
    """A person's "try again" of a freeze that came to nothing: the judgements are read anew."""
    with transaction.atomic():
        jobs.requeue(snapshot, by=by)
        snapshot.members.all().delete()
        Snapshot.objects.filter(pk=snapshot.pk).update(sealed_at=None, counts={})
        record("dataset.retry", user=by, project=snapshot.project, subject=snapshot)
        # Not left to the next attempt: without members an erasure finds the dataset no more.
        _forget_files(snapshot)


def cancel_freeze(snapshot: Snapshot, *, by: User) -> None:
    with transaction.atomic():
        jobs.request_cancel(snapshot, by=by)
        record("dataset.cancel", user=by, project=snapshot.project, subject=snapshot)


def freeze_anew(snapshot: Snapshot, *, by: User) -> Snapshot:
    """Another snapshot by the recipe of this one, of the judgements as they stand now."""
    taken = set(snapshot.project.snapshots.values_list("name", flat=True))
    stem = snapshot.name[:90]
    name = next(name for number in count(2) if (name := f"{stem}-{number}") not in taken)
    return start_freeze(
        project=snapshot.project,
        name=name,
        campaigns=list(snapshot.campaigns.all()),
        selection=snapshot.selection,
        pair_policy=snapshot.pair_policy,
        by=by,
    )
