"""Simulated people: they sign in, read the real pages and press the real buttons, by a known preference.

The load generator, the test of the loop, and the dry run before anybody is paid. What they say is marked as simulated.
"""

import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import quantiles
from typing import Any

from django.db import transaction
from django.urls import reverse

from accounts.invitations import issue_sign_in_link
from accounts.models import Membership, Project, User
from annotation.models import Annotator, Campaign
from annotation.opinions import Opinion
from annotation.pageclient import Page, PageClient
from annotation.people import annotator_for
from core.counting import counted
from core.errors import require
from core.ids import new_token
from starter.judge import Preference

__all__ = ["PageClient", "Report", "simulate", "simulated_people"]

WAIT_SECONDS = 0.5
MOST_WAITS = 20


@dataclass(frozen=True)
class Report:
    """What the people did, and how long the pages took to answer a judgement with the next task."""

    n_people: int
    n_judgements: int
    n_lost: int
    seconds: float
    latencies: Sequence[float]

    @property
    def per_second(self) -> float:
        return self.n_judgements / self.seconds if self.seconds else 0.0

    def percentile(self, percent: int) -> float | None:
        """Seconds from a click to the next task, or None where there are too few to say."""
        return quantiles(self.latencies, n=100)[percent - 1] if len(self.latencies) > 1 else None


class _Budget:
    """How many judgements are still wanted, shared by all people."""

    def __init__(self, most: int | None) -> None:
        self._left, self._lock = most, threading.Lock()

    def take(self) -> bool:
        with self._lock:
            if self._left is None:
                return True
            self._left -= 1
            return self._left >= 0

    def give_back(self) -> None:
        with self._lock:
            if self._left is not None:
                self._left += 1


@transaction.atomic
def simulated_people(project: Project, n_people: int) -> list[User]:
    """``n_people`` members who are marked as simulated; those of an earlier run are taken again."""
    people = []
    for number in range(1, n_people + 1):
        username = f"simulated-{project.slug}-{number}"
        user = User.objects.filter(username=username).first()
        if user is None:
            # A password that nobody knows, so that no page asks for a new one; they come in by one-time links.
            user = User.objects.create_user(username=username, password=new_token(), name=f"Simulated {number}")
        Membership.objects.get_or_create(project=project, user=user, defaults={"is_annotator": True})
        annotator = annotator_for(user, project, kind=Annotator.Kind.SIMULATED)
        require(annotator.kind == Annotator.Kind.SIMULATED, f"{username} is not a simulated person.")
        people.append(user)
    return people


class _Person:
    """One simulated person at one browser."""

    def __init__(
        self, client: PageClient, start: str, agree: str, opinion: Opinion, budget: _Budget, think_seconds: float
    ) -> None:
        self.client, self.start, self.agree, self.opinion, self.budget = client, start, agree, opinion, budget
        self.think_seconds = think_seconds
        self.n_judgements = self.n_lost = 0
        self.last_at = 0.0

    def work(self, link: str) -> None:
        """Judge until nothing is left, or enough has been judged."""
        with self.client:
            self.client.open_link(link)
            self.client.seconds.clear()
            page, n_waits = self.client.get(self.start), 0
            while True:
                if page.form(id="judge"):
                    if not self.budget.take():
                        return
                    page, n_waits = self._judge(page), 0
                elif page.form(self.start) and n_waits < MOST_WAITS:
                    page, n_waits = self.client.submit(page, self.start), n_waits + 1
                elif page.form(self.agree) and n_waits < MOST_WAITS:
                    page, n_waits = self.client.submit(page, self.agree, agrees="1"), n_waits + 1
                elif link_on := self._open_task(page):
                    page = self.client.get(link_on)
                elif "being judged by others" in page.text and n_waits < MOST_WAITS:
                    n_waits += 1
                    time.sleep(WAIT_SECONDS)
                    page = self.client.get(self.start)
                else:
                    return

    def _judge(self, page: Page) -> Page:
        if self.think_seconds:
            time.sleep(random.expovariate(1 / self.think_seconds))
        said: dict[str, Any] = self.opinion.fields(page)
        page = self.client.submit(page, id="judge", **said)
        if page.status == 409:
            self.budget.give_back()
            self.n_lost += 1
        else:
            self.n_judgements += 1
            self.last_at = time.perf_counter()
        return page

    def _open_task(self, page: Page) -> str | None:
        """A task that this person left open in an earlier run; its link stands where the start button would."""
        return next((address for words, address in page.links if words == "Go on with it"), None)


def simulate(
    *,
    base_url: str,
    campaign: Campaign,
    n_people: int = 8,
    n_judgements: int | None = None,
    preference: Preference | None = None,
    seed: int = 0,
    ties: float = 0.0,
    think_seconds: float = 0.0,
    javascript: bool = True,
    tell: Callable[[str], None] | None = None,
) -> Report:
    """Let ``n_people`` judge a campaign through its pages at the same time.

    n_judgements  how many together; None: until nothing is left for them
    preference    what they care for; the default is the fixed utility at temperature 1
    ties          a difference that is no larger than this is none to them: they say so where the page lets them
    javascript    press buttons as htmx does; False: whole pages and redirects
    Raises PageProblem if a page fails.
    """
    require(n_people >= 1, "At least one person must judge.")
    people = simulated_people(campaign.project, n_people)
    links = [issue_sign_in_link(user) for user in people]
    start = reverse("annotation:start", args=[campaign.project.slug, campaign.key])
    budget = _Budget(n_judgements)
    workers = [
        _Person(
            PageClient(base_url, javascript=javascript),
            start,
            reverse("annotation:agree", args=[campaign.project.slug, campaign.key]),
            Opinion(preference or Preference(), f"{seed}:{number}", ties=ties),
            budget,
            think_seconds,
        )
        for number in range(n_people)
    ]
    began = time.perf_counter()
    with ThreadPoolExecutor(max_workers=n_people, thread_name_prefix="simulated") as pool:
        for future in [pool.submit(worker.work, link) for worker, link in zip(workers, links, strict=True)]:
            future.result()
    report = Report(
        n_people=n_people,
        n_judgements=sum(worker.n_judgements for worker in workers),
        n_lost=sum(worker.n_lost for worker in workers),
        # Until the last judgement: who then waits for others to give something back is not at work.
        seconds=max([worker.last_at for worker in workers if worker.last_at] or [time.perf_counter()]) - began,
        latencies=[seconds for worker in workers for seconds in worker.client.seconds],
    )
    if tell is not None:
        tell(summary(report))
    return report


def summary(report: Report) -> str:
    """The figures in two lines."""
    who = f"{counted(report.n_judgements, 'judgement')} by {counted(report.n_people, 'simulated person', 'simulated people')}"
    lines = [f"{who} in {report.seconds:.1f} s: {report.per_second:.1f} a second, {report.n_lost} not counted."]
    if (median := report.percentile(50)) is not None:
        p95, p99 = report.percentile(95) or 0.0, report.percentile(99) or 0.0
        lines.append(
            f"Click to next task: median {median * 1000:.0f} ms, 95 % {p95 * 1000:.0f} ms, 99 % {p99 * 1000:.0f} ms."
        )
    return "\n".join(lines)
