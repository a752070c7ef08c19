"""``manage.py demo``: the whole loop on this machine, with embedded defaults; ``--auto`` does one round by itself and ends."""

import logging
import signal
import sys
import time
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from accounts.invitations import issue_sign_in_link
from core.errors import DomainError
from loop import demo as demo_project
from loop.autopilot import Ending, open_first_answers, play_round
from loop.processes import Processes, wait_for_web

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Command(BaseCommand):
    help = "Run the whole loop on this machine: web, workers and engine, with a project to begin with. Ctrl-C ends it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--auto", action="store_true", help="do one round by itself with simulated people, then end"
        )
        parser.add_argument(
            "--port", type=int, default=None, help="port of the web server; the next free one if it is taken"
        )
        parser.add_argument(
            "--no-round", action="store_true", help="start no round: the first one is a person's to start"
        )
        parser.add_argument("--people", type=int, default=4, help="simulated people (with --auto)")

    def handle(self, *args: Any, **options: Any) -> None:
        logging.getLogger().setLevel(logging.WARNING)  # the processes log to files; this console tells the story
        for number in ENDINGS:
            signal.signal(number, _as_keyboard_interrupt)
        started = time.monotonic()
        self.say("Preparing the database …")
        call_command("migrate", verbosity=0, interactive=False)
        demo = demo_project.ensure_demo()
        processes = Processes(port=options["port"] or settings.WHETSTONE.port, say=self.say)
        failed = False
        try:
            processes.start()
            wait_for_web(processes)
            url = processes.url
            self.say(f"Whetstone runs at {url}")
            if options["auto"]:
                ending = play_round(demo, url=url, processes=processes, n_people=options["people"], say=self.say)
                failed = ending == Ending.FAILED
            else:
                self.invite(demo, url)
                if not options["no_round"]:
                    self.open_first_answers(demo, processes, started)
                processes.watch()
        except DomainError as problem:  # the web server did not come up
            failed = True
            self.say(f"\n{problem.words}")
        except KeyboardInterrupt:
            self.say("\nStopping …")
        finally:
            for number in ENDINGS:  # it is ending, and soon: a second Ctrl-C would only leave the end undone
                signal.signal(number, signal.SIG_IGN)
            processes.stop()
        self.say("Everything has ended. Run it again to go on where it was." if not failed else "It did not end well.")
        if failed:
            sys.exit(1)

    def open_first_answers(self, demo: demo_project.Demo, processes: Processes, started: float) -> None:
        """A stage that fails is told here and shown on the board, where a person can try it again: nothing is stopped."""
        try:
            open_first_answers(demo, processes=processes, say=self.say, started=started)
        except DomainError as problem:
            self.say(f"\n{problem.words}")

    def invite(self, demo: demo_project.Demo, url: str) -> None:
        link = issue_sign_in_link(demo.user)
        address = link if link.startswith("http") else url.rstrip("/") + link
        word = (
            "Open this link once to sign in"
            if demo.user.must_set_password
            else "Sign in with your password, or by this one-time link"
        )
        self.say(f"{word}:\n\n    {address}\n")

    def say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def _as_keyboard_interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
