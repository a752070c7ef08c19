"""Write a frozen dataset in a format that others read, or push it to a hub or to S3, at once and without a worker."""

import argparse
import shutil
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.models import Project, User
from core.bars import done_with_bar
from core.counting import counted
from core.errors import DomainError
from core.jobs import JobStatus
from training.blinding import note_file_had
from training.exports.formats import FORMATS
from training.exports.job import file_of, run_export, start_export
from training.models import ExportJob, Snapshot
from training.pushing.job import run_push, start_push
from training.pushing.places import address_of, destination_named

COLUMNS = ("details", "models", "people")


class Command(BaseCommand):
    help = "Write a frozen dataset in a format (docs/reference/export-formats.md), or push it, with a progress bar."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("dataset", help="its name or its key")
        parser.add_argument("file", type=Path, nargs="?", help="the file to write, or a directory for it")
        parser.add_argument("--to", metavar="PLACE", help="push it instead: hub:owner/name or s3:folder")
        parser.add_argument("--public", action="store_true", help="of a push: make the repository public")
        parser.add_argument("--with-votes", action="store_true", help="of a push without --format: every vote, too")
        parser.add_argument("--project", required=True, help="the project's name in its address")
        parser.add_argument(
            "--format",
            choices=[each.name for each in FORMATS],
            help="trl-preference; of a push: the frozen dataset itself",
        )
        parser.add_argument("--container", default="jsonl", help="jsonl, jsonl.zst, parquet, csv ...")
        parser.add_argument("--split", default="train", choices=["train", "test"])
        parser.add_argument("--details", action="store_true", help="the further columns of the format")
        parser.add_argument("--models", action="store_true", help="name the models that wrote the answers")
        parser.add_argument("--people", action="store_true", help="name the annotators by their pseudonyms")
        parser.add_argument("--by", help="the user who exports it")

    def handle(self, *args: Any, **options: Any) -> None:
        if bool(options["file"]) == bool(options["to"]):
            raise CommandError("Give the file to write, or --to with the place to push to.")
        self._check_push(options)
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        by = User.objects.filter(username=options["by"]).first() if options["by"] else None
        if options["by"] and by is None:
            raise CommandError(f"There is no user {options['by']!r}.")
        wanted = options["dataset"]
        snapshot = (project.snapshots.filter(key=wanted) or project.snapshots.filter(name=wanted)).first()
        if snapshot is None:
            raise CommandError(f"There is no dataset {wanted!r} in this project.")
        if snapshot.erasure_note:
            self.stderr.write(snapshot.erasure_note)
        try:
            if options["to"]:
                self._push(snapshot, options, by)
            else:
                self._write(snapshot, options, by)
        except DomainError as problem:
            raise CommandError(problem.words) from None
        except OSError as problem:
            raise CommandError(f"The file could not be written: {problem.strerror}.") from None

    def _check_push(self, options: dict[str, Any]) -> None:
        """Nothing is left out of a push without a word."""
        if options["format"] and options["with_votes"]:
            raise CommandError("--with-votes is of a push without --format.")
        of_a_file = options["split"] != "train" or options["container"] != "jsonl"
        if options["to"] and not options["format"] and (of_a_file or any(options[name] for name in COLUMNS)):
            raise CommandError("Without --format the frozen dataset is pushed whole: give --format for these options.")

    def _write(self, snapshot: Snapshot, options: dict[str, Any], by: User | None) -> None:
        job = self._exported(snapshot, options, by)
        path = options["file"] / job.filename if options["file"].is_dir() else options["file"]
        if by is not None:
            note_file_had(snapshot, by, names_models=bool(job.options["models"]))
        shutil.copyfile(file_of(job), path)
        self.stdout.write(f"{path}: {counted(job.n_rows, 'row')}, sha256 {job.sha256}")

    def _push(self, snapshot: Snapshot, options: dict[str, Any], by: User | None) -> None:
        to, _, target = options["to"].partition(":")
        address_of(destination_named(to).name, snapshot.project, target)  # before a file is written for it
        export = self._exported(snapshot, options, by) if options["format"] else None
        push = start_push(
            snapshot=snapshot, to=to, target=target, export=export, is_public=options["public"],
            with_votes=options["with_votes"], by=by,
        )  # fmt: skip
        done_with_bar(push, lambda: run_push(push.pk), stream=self.stderr)
        if push.status != JobStatus.SUCCEEDED:
            raise CommandError(push.error or "A worker has taken this push; its page says when it is done.")
        size = f"{counted(push.n_files, 'file')}, {counted(push.n_bytes, 'byte')}"
        self.stdout.write(f"{push.address}: {size}, revision {push.revision}")

    def _exported(self, snapshot: Snapshot, options: dict[str, Any], by: User | None) -> ExportJob:
        chosen = {name: options[name] for name in ("split", *COLUMNS)}
        job = start_export(
            snapshot=snapshot, file_format=options["format"] or "trl-preference", container=options["container"],
            options=chosen, by=by,
        )  # fmt: skip
        if not job.is_terminal:
            done_with_bar(job, lambda: run_export(job.pk), stream=self.stderr)
        if job.status != JobStatus.SUCCEEDED:
            raise CommandError(job.error or "A worker has taken this export; its page says when it is written.")
        return job
