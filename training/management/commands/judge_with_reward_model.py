"""Let a reward model judge a campaign of answers that nobody has read."""

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from accounts.models import User
from annotation.models import Campaign
from core.counting import counted
from core.errors import DomainError
from generation.models import ModelVersion
from training.machine_judge import judge_by_reward_model


class Command(BaseCommand):
    help = "Let a reward model judge what is free in a campaign (docs/how-to/teach-with-a-reward-model.md), with a progress bar."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--campaign", required=True, help="its key, as in its address")
        parser.add_argument("--model", required=True, help="the reward model's name in its project")
        parser.add_argument("--by", help="the user in whose name the audit records it")

    def handle(self, *args: Any, **options: Any) -> None:
        campaign = Campaign.objects.select_related("project").filter(key=options["campaign"]).first()
        if campaign is None:
            raise CommandError("There is no campaign with that key.")
        model = ModelVersion.objects.filter(project=campaign.project, slug=options["model"]).first()
        if model is None:
            raise CommandError(f"There is no model {options['model']!r} in {campaign.project}.")
        by = User.objects.filter(username=options["by"]).first() if options["by"] else None
        if options["by"] and by is None:
            raise CommandError(f"There is no user {options['by']!r}.")
        with tqdm(unit=" tasks", disable=not self.stderr.isatty(), file=self.stderr._out) as bar:
            try:
                n_judged = judge_by_reward_model(
                    campaign=campaign, model=model, by=by, tell=lambda done, of: _show(bar, done, of)
                )
            except DomainError as problem:
                raise CommandError(problem.words) from None
        self.stdout.write(f"{model.slug} judged {counted(n_judged, 'task')} of “{campaign.name}”.")


def _show(bar: Any, done: int, of: int) -> None:
    bar.total, bar.n = of, done
    bar.refresh()
