"""Import prompts from a file on this machine, at once and without a worker."""

import argparse
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.models import Project, User
from core.bars import done_with_bar
from core.counting import counted
from core.errors import DomainError
from core.jobs import JobStatus
from generation.prompt_importing import run_import
from generation.prompts import delete_set, report_path, start_import


class Command(BaseCommand):
    help = (
        "Import prompts (JSONL, CSV, Parquet, or one a line) into a project, with a progress bar; all of them or none."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--project", required=True, help="the project's name in its address")
        parser.add_argument("--name", help="of a new prompt set; the file's own, if not given")
        parser.add_argument("--into", help="key of a prompt set that is there, instead of a new one")
        parser.add_argument("--source", default="", help="where the prompts come from")
        parser.add_argument("--licence", default="")
        parser.add_argument("--holdout-only", action="store_true", help="no prompt of the set ever trains a model")
        parser.add_argument("--skip-bad-rows", action="store_true")
        parser.add_argument(
            "--allow-secrets", action="store_true", help="let rows in that hold what looks like a key or a card number"
        )
        parser.add_argument("--by", help="the user who brings the file")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        by = User.objects.filter(username=options["by"]).first() if options["by"] else None
        if options["by"] and by is None:
            raise CommandError(f"There is no user {options['by']!r}.")
        path, into = options["file"], None
        if not path.is_file():
            raise CommandError(f"There is no file {path}.")
        if options["into"] and (into := project.prompt_sets.filter(key=options["into"]).first()) is None:
            raise CommandError(f"There is no prompt set {options['into']!r} in this project.")
        try:
            job = start_import(
                project=project, upload=path, filename=path.name, prompt_set=into, name=options["name"] or path.stem,
                source=options["source"], licence=options["licence"], is_holdout_only=options["holdout_only"],
                skip_bad_rows=options["skip_bad_rows"], allow_secrets=options["allow_secrets"], by=by, enqueue=False,
            )  # fmt: skip
            done_with_bar(job, lambda: run_import(job.pk), stream=self.stderr)
        except DomainError as problem:
            raise CommandError(problem.words) from None
        if job.status != JobStatus.SUCCEEDED:
            self._tell_bad_rows(job)
            if into is None and job.is_terminal:
                delete_set(job.set, by=by)
            raise CommandError(job.error or job.message or "The import did not end.")
        self._tell_bad_rows(job)
        self.stdout.write(
            f"{counted(job.n_added, 'prompt')} in the set {job.set.name} ({job.set.key}); "
            f"{counted(job.n_duplicates, 'was', 'were')} there already."
        )

    def _tell_bad_rows(self, job: Any) -> None:
        for bad in job.bad_rows[:5]:
            self.stderr.write(f"Line {bad['line']}: {bad['reason']}")
        if job.n_bad > 5 and report_path(job).exists():
            self.stderr.write(f"{counted(job.n_bad, 'row')} could not be used.")
