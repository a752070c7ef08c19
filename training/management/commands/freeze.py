"""Freeze a dataset on this machine, at once and without a worker."""

import argparse
import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.models import Project, User
from annotation.models import Campaign
from core.bars import done_with_bar
from core.errors import DomainError
from core.jobs import JobStatus
from training.freezing import run_freeze, start_freeze
from training.selecting import freezable_campaigns
from training.snapshots import directory_of

SETTINGS = "All settings: docs/reference/recipes.md."


class Command(BaseCommand):
    help = "Freeze what people said in some campaigns into a dataset, with a progress bar."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("name", help="of the dataset")
        parser.add_argument("--project", required=True, help="the project's name in its address")
        parser.add_argument(
            "--campaign",
            action="append",
            default=[],
            help="a campaign's name or its key; all that were opened, if none is given",
        )
        parser.add_argument(
            "--selection",
            type=_json,
            default={},
            help=f"which judgements, as JSON: '{{\"with_simulated\": true}}'. {SETTINGS}",
        )
        parser.add_argument(
            "--pair-policy",
            type=_json,
            default={},
            help=f'how they become rows, as JSON: \'{{"aggregation": "votes"}}\'. {SETTINGS}',
        )
        parser.add_argument("--by", help="the user who freezes it")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        by = User.objects.filter(username=options["by"]).first() if options["by"] else None
        if options["by"] and by is None:
            raise CommandError(f"There is no user {options['by']!r}.")
        wanted = options["campaign"]
        campaigns = [_campaign(project, each) for each in wanted] if wanted else list(freezable_campaigns(project))
        try:
            snapshot = start_freeze(
                project=project, name=options["name"], campaigns=campaigns, selection=options["selection"],
                pair_policy=options["pair_policy"], by=by,
            )  # fmt: skip
        except DomainError as problem:
            raise CommandError(problem.words) from None
        done_with_bar(snapshot, lambda: run_freeze(snapshot.pk), stream=self.stderr)
        if not snapshot.is_terminal:
            self.stdout.write(f"A worker has taken {snapshot.name} ({snapshot.key}); its page says when it is frozen.")
            return
        if snapshot.status != JobStatus.SUCCEEDED:
            raise CommandError(snapshot.error or "The freeze did not end.")
        self.stdout.write(f"{snapshot.name} ({snapshot.key}): {snapshot.message}, sha256 {snapshot.sha256}")
        self.stdout.write(str(directory_of(snapshot)))


def _campaign(project: Project, wanted: str) -> Campaign:
    """The campaign with this key, else the only one with this name."""
    opened = freezable_campaigns(project)
    found = list(opened.filter(key=wanted) or opened.filter(name=wanted))
    if not found:
        raise CommandError(f"There is no campaign {wanted!r} that was opened in this project.")
    if len(found) > 1:
        keys = ", ".join(each.key for each in found)
        raise CommandError(f"{len(found)} campaigns are named {wanted!r}: give the key of one ({keys}).")
    return found[0]


def _json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as problem:
        raise argparse.ArgumentTypeError(f"this is not JSON: {problem.msg}") from None
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError("this is not a JSON object")
    return found
