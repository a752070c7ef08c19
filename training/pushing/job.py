"""Pushes as jobs: asked for, done by a worker, cancelled, gone on with. Who may export with text may push."""

from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Coalesce, Now

from accounts.audit import record
from accounts.models import User
from core import jobs
from core.beating import Keeper, attempt
from core.counting import counted
from core.errors import Conflict, require
from core.jobs import JobStatus
from core.storage import workspace
from training.blinding import note_file_had
from training.exports.job import file_of, may_export
from training.models import ExportJob, PushJob, Snapshot
from training.pushing.places import address_of, destination_named, place_of
from training.pushing.tree import tree_of
from training.pushing.watch import KIB, Watch
from training.snapshots import directory_of

LEASE_SECONDS = 300


# ---- asking ----------------------------------------------------------------------------------------------------------


def start_push(
    *,
    snapshot: Snapshot,
    to: str,
    target: str,
    export: ExportJob | None = None,
    is_public: bool = False,
    with_votes: bool = False,
    by: User | None,
) -> PushJob:
    """Queue the push of a frozen dataset, or of one export of it.

    to          a name of ``PushJob.Destination``
    target      owner/name on a hub, a folder on S3
    is_public   a repository that is made for it is public; otherwise it is private
    with_votes  of a dataset: with the records, the lineage and the rows as JSON Lines
    Raises DomainError where there are no credentials, or nothing to push; Conflict while another push goes there.
    """
    destination, target = destination_named(to), target.strip().strip("/")
    address = address_of(destination.name, snapshot.project, target)
    _check_source(snapshot, export)
    try:
        with transaction.atomic():
            push = PushJob.objects.create(
                project=snapshot.project, snapshot=snapshot, export=export, destination=to, target=target, address=address,
                is_public=is_public and to == PushJob.Destination.HUB, with_votes=with_votes and export is None,
                source_sha256=snapshot.artifact_sha256, unit="KiB", requested_by=by,
            )  # fmt: skip
            push.events.create(before="", after=push.status, by=by)
            _record("push.start", push, by)
            _note_had(push, by)
            jobs.enqueue_on_commit(push)
    except IntegrityError:
        raise Conflict(f"A push to {address} is on its way.", how="Wait until it is over, or cancel it.") from None
    return push


def _check_source(snapshot: Snapshot, export: ExportJob | None) -> None:
    directory_of(snapshot)
    erasing = snapshot.erasures.exclude(status=JobStatus.SUCCEEDED).exists()
    require(not erasing, "Text is being erased from this dataset.", how="Push it when that is over.")
    if export is not None:
        require(export.snapshot_id == snapshot.pk, "That export is of another dataset.")
        file_of(export)


def _record(action: str, push: PushJob, by: User | None, **more: object) -> None:
    detail = {
        "dataset": push.snapshot.name, "export": push.export.filename if push.export else "", "address": push.address,
        "public": push.is_public, "votes": push.with_votes, **more,
    }  # fmt: skip
    record(action, user=by, project=push.project, subject=push, detail=detail)


def _note_had(push: PushJob, by: User | None) -> None:
    """Who pushes it can read it there."""
    if by is not None:
        names_models = bool(push.export.options["models"]) if push.export else push.with_votes
        note_file_had(push.snapshot, by, names_models=names_models)


def cancel_push(push: PushJob, *, by: User) -> None:
    with transaction.atomic():
        jobs.request_cancel(push, by=by)
        _record("push.cancel", push, by)


def push_again(push: PushJob, *, by: User) -> None:
    """A person's "go on" of a push that failed or was cancelled: what lies there whole is not sent again."""
    destination_named(push.destination)
    _check_source(push.snapshot, push.export)
    others = PushJob.objects.filter(address=push.address, begun_at__isnull=False).exclude(pk=push.pk).exists()
    try:
        with transaction.atomic():
            jobs.requeue(push, by=by, note="gone on with")
            # What another push left there is not what this one sent.
            PushJob.objects.filter(pk=push.pk).update(
                requested_by=by, source_sha256=push.snapshot.artifact_sha256, step=0, **({"sent": {}} if others else {})
            )
            _record("push.retry", push, by)
            _note_had(push, by)
    except IntegrityError:
        raise Conflict(
            f"Another push to {push.address} is on its way.", how="Wait until it is over, or cancel it."
        ) from None


def pushes_of(snapshot: Snapshot) -> QuerySet[PushJob]:
    """Newest first."""
    return snapshot.pushes.select_related("export", "requested_by").order_by("-id")


# ---- doing -----------------------------------------------------------------------------------------------------------


def run_push(push_id: int) -> None:
    """Send the files from wherever it was left. Safe to call at any time, by any number of workers."""
    rows = PushJob.objects.select_related("project", "snapshot__project", "export__snapshot", "requested_by")
    push = rows.filter(pk=push_id).first()
    attempt(push, _push, seconds=LEASE_SECONDS, what="The push")


def _push(push: PushJob, keeper: Keeper) -> None:
    _check_right(push)
    destination_named(push.destination)
    _check_source(push.snapshot, push.export)
    require(push.source_sha256 == push.snapshot.artifact_sha256, "The dataset has been changed.", how="Push it again.")
    with workspace("pushing", push.key) as folder:
        pieces = tree_of(push, folder)
        n_bytes, watch, place = sum(piece.n_bytes for piece in pieces), Watch(push.sent), place_of(push)
        keeper.beat(step=0, total_steps=max(1, n_bytes >> KIB), n_files=len(pieces), n_bytes=n_bytes)
        is_ours = PushJob.objects.filter(project=push.project, address=push.address, begun_at__isnull=False).exists()
        keeper.while_beating(lambda: place.begin(is_ours=is_ours))
        PushJob.objects.filter(pk=push.pk).update(begun_at=Coalesce(F("begun_at"), Now()))
        try:
            revision = keeper.while_beating(
                lambda: place.send(pieces, watch), progress=watch.progress, on_stop=watch.stop
            )
        finally:
            # However it ended: what lies there whole is not sent again.
            jobs.beat(push, keeper.token, seconds=LEASE_SECONDS, **watch.progress())
        keeper.beat()
    with transaction.atomic():  # cancelled in its last moment it says, too, where the files lie
        done = jobs.finish(
            push, keeper.token, message=counted(len(pieces), "file"), revision=revision, step=F("total_steps")
        )
        if done:
            _record("push.done", push, push.requested_by, revision=revision)


def _check_right(push: PushJob) -> None:
    """Who asked may have lost the role meanwhile. A push that nobody asked for is the system's own."""
    if push.requested_by is not None:
        allowed = may_export(push.requested_by, push.project)
        require(allowed, "Whoever asked for this push may no longer export here.")
