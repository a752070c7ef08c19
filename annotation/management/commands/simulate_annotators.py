"""Simulated people judge a campaign through the pages of a running site; prints judgements a second and how long pages took."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from annotation.models import Campaign
from annotation.simulate import simulate
from core.errors import DomainError
from starter.judge import Preference

WEIGHTS = ("helpful", "correct", "polite", "brief")


class Command(BaseCommand):
    help = __doc__ or ""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--campaign", required=True, help="its key, as in its address")
        parser.add_argument("--people", type=int, default=8)
        parser.add_argument("--judgements", type=int, default=None, help="all together; default: until nothing is left")
        parser.add_argument("--base-url", default=None, help="where the site runs; default: its own address")
        for name in WEIGHTS:
            parser.add_argument(f"--{name}", type=float, default=1.0, help=f"how much they care for {name} answers")
        parser.add_argument(
            "--noise", type=float, default=1.0, help="temperature of the choice; 0 takes the better one"
        )
        parser.add_argument("--laziness", type=float, default=0.0, help="probability of not reading")
        parser.add_argument("--ties", type=float, default=0.0, help="a difference in utility that is a tie to them")
        parser.add_argument("--think-seconds", type=float, default=0.0, help="mean pause before a judgement")
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--no-javascript", action="store_true", help="whole pages and redirects")

    def handle(self, *args: Any, **options: Any) -> None:
        campaign = Campaign.objects.select_related("project").filter(key=options["campaign"]).first()
        if campaign is None:
            raise CommandError("There is no campaign with that key.")
        weights = {name: options[name] for name in WEIGHTS}
        preference = Preference(**weights, noise=options["noise"], laziness=options["laziness"])
        self.stdout.write(f"Utility: {preference}")
        try:
            simulate(
                base_url=options["base_url"] or settings.WHETSTONE.url,
                campaign=campaign,
                n_people=options["people"],
                n_judgements=options["judgements"],
                preference=preference,
                seed=options["seed"],
                ties=options["ties"],
                think_seconds=options["think_seconds"],
                javascript=not options["no_javascript"],
                tell=self.stdout.write,
            )
        except DomainError as problem:
            raise CommandError(problem.words) from None
