"""Write a frozen dataset in a format that others read, on this machine, at once and without a worker."""

import argparse
import shutil
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.models import Project, User
from core.bars import done_with_bar
from core.errors import DomainError
from core.jobs import JobStatus
from training.exports.formats import FORMATS
from training.exports.job import file_of, run_export, start_export


class Command(BaseCommand):
    help = "Write a frozen dataset in a format (docs/reference/export-formats.md), with a progress bar."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("dataset", help="its name or its key")
        parser.add_argument("to", type=Path, help="the file to write, or a directory for it")
        parser.add_argument("--project", required=True, help="the project's name in its address")
        parser.add_argument("--format", default="trl-preference", choices=[each.name for each in FORMATS])
        parser.add_argument("--container", default="jsonl", help="jsonl, jsonl.zst, parquet, csv ...")
        parser.add_argument("--split", default="train", choices=["train", "test"])
        parser.add_argument("--details", action="store_true", help="the further columns of the format")
        parser.add_argument("--models", action="store_true", help="name the models that wrote the answers")
        parser.add_argument("--people", action="store_true", help="name the annotators by their pseudonyms")
        parser.add_argument("--by", help="the user who exports it")

    def handle(self, *args: Any, **options: Any) -> None:
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
        chosen = {name: options[name] for name in ("split", "details", "models", "people")}
        try:
            job = start_export(
                snapshot=snapshot, file_format=options["format"], container=options["container"], options=chosen, by=by
            )
            if not job.is_terminal:
                done_with_bar(job, lambda: run_export(job.pk), stream=self.stderr)
            if job.status != JobStatus.SUCCEEDED:
                raise CommandError(job.error or "A worker has taken this export; its page says when it is written.")
            to = options["to"] / job.filename if options["to"].is_dir() else options["to"]
            shutil.copyfile(file_of(job), to)
        except DomainError as problem:
            raise CommandError(f"{problem.sentence} {problem.how}".strip()) from None
        except OSError as problem:
            raise CommandError(f"The file could not be written: {problem.strerror}.") from None
        self.stdout.write(f"{to}: {job.n_rows:,} rows, sha256 {job.sha256}")
