"""Import votes of people elsewhere from a file on this machine, at once and without a worker."""

import argparse
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from accounts.models import Project, User
from annotation.models import VoteImport
from annotation.votes.files import report_path
from annotation.votes.job import import_now
from core.counting import counted
from core.errors import DomainError


class Command(BaseCommand):
    help = "Import votes (docs/reference/votes.md) into a project, with a progress bar; all of them or none."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--project", required=True, help="the project's name in its address")
        parser.add_argument("--name", help="of the campaign and the prompt set; the file's own, if not given")
        parser.add_argument("--source", default="", help="where the people are from; the name, if not given")
        parser.add_argument("--licence", default="")
        parser.add_argument("--guidelines", type=Path, help="a Markdown file: the instruction that the people had read")
        parser.add_argument("--open-for", type=int, default=0, help="further judgements a task by people here")
        parser.add_argument("--holdout-only", action="store_true")
        parser.add_argument(
            "--map",
            action="append",
            default=[],
            metavar="ROLE=COLUMN",
            help="which column is what, of a table that no format knows",
        )
        parser.add_argument("--skip-bad-rows", action="store_true")
        parser.add_argument("--by", help="the user who brings the file: what this person judges of it is not blind")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        by = User.objects.filter(username=options["by"]).first() if options["by"] else None
        if options["by"] and by is None:
            raise CommandError(f"There is no user {options['by']!r}.")
        path, guidelines = options["file"], options["guidelines"]
        for file in (path, guidelines):
            if file is not None and not file.is_file():
                raise CommandError(f"There is no file {file}.")
        choices = {
            "licence": options["licence"], "open_for": options["open_for"], "is_holdout_only": options["holdout_only"],
            "guidelines": guidelines.read_text(encoding="utf-8") if guidelines else "",
        }  # fmt: skip
        mapping = dict(each.partition("=")[::2] for each in options["map"])
        with tqdm(unit=" rows", disable=not self.stderr.isatty(), file=self.stderr._out) as bar:
            try:
                job = import_now(
                    project=project, path=path, name=options["name"] or path.stem, source=options["source"],
                    choices=choices, mapping=mapping, skip_bad_rows=options["skip_bad_rows"], by=by, progress=lambda each: _show(bar, each),
                )  # fmt: skip
            except DomainError as problem:
                raise CommandError(problem.words) from None
        self.stdout.write(f"{job.message} Campaign {job.campaign.key if job.campaign else ''}.")
        if job.n_bad:
            self.stdout.write(f"{counted(job.n_bad, 'row')} could not be used: {report_path(job)}")


def _show(bar: Any, job: VoteImport) -> None:
    bar.set_description("Storing" if job.checked_at else "Checking", refresh=False)
    bar.total = job.total_steps
    bar.n = job.step
    bar.refresh()
