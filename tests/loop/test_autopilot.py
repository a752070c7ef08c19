"""How a round that goes by itself ends: by deploying, or by giving up a policy that is clearly worse."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from django.utils import timezone

from annotation.pageclient import PageClient
from generation.models import Deployment
from loop.autopilot import Ending, Teller, deploy_or_give_up, sign_in, what_changed
from loop.demo import Demo
from loop.models import Round, RoundStep
from loop.processes import Processes
from loop.rounds import advance_round, is_clearly_worse, last_step
from tests.loop.builders import World

pytestmark = pytest.mark.django_db(transaction=True)


class Ended:
    """A round that has been evaluated, and how the autopilot ends it. Loading the policy is the worker's, so it is played."""

    def __init__(self, live_server: Any, outcome: str) -> None:
        self.world = World()
        self.round: Round = self.world.round()
        self.version = self.world.trained(self.round)
        self.world.evaluated(self.round, self.version, outcome)
        demo = cast(Demo, SimpleNamespace(project=self.world.project, autopilot=self.world.ravi))
        self.said: list[str] = []
        pages: PageClient = sign_in(demo, live_server.url)
        with pages:
            self.ending = deploy_or_give_up(
                demo,
                self.round,
                pages,
                cast(Processes, SimpleNamespace(look_after=self._worker)),
                Teller(self.said.append),
            )
        self.round.refresh_from_db()

    def _worker(self) -> None:
        step = last_step(self.round, RoundStep.Stage.DEPLOY)
        assert step is not None and step.deployment is not None
        self.world.project.deployments.filter(stage="live").update(stage="draining")
        flipped = {"stage": "live", "status": "succeeded", "live_at": timezone.now()}
        Deployment.objects.filter(pk=step.deployment.pk).update(**flipped)
        advance_round(self.round)

    @property
    def note(self) -> str:
        step = last_step(self.round, RoundStep.Stage.DEPLOY)
        return step.note if step else ""


def test_a_policy_that_is_clearly_worse_is_not_deployed_and_the_round_says_why(live_server):
    ended = Ended(live_server, "worse")
    assert ended.ending == Ending.GIVEN_UP
    assert (ended.round.status, ended.round.policy_out) == (Round.Status.ABANDONED, None)
    assert last_step(ended.round, RoundStep.Stage.DEPLOY) is None
    assert not ended.world.project.deployments.exclude(pk=ended.world.live.pk).exists()
    assert "clearly worse" in ended.round.events.get(after="abandoned").note
    assert any("not deployed" in line for line in ended.said)
    assert f"{ended.version} is worse, and {ended.world.base} stays live" in what_changed(ended.round)


@pytest.mark.parametrize(("outcome", "word"), [("better", ""), ("unclear", "none worse"), ("none", "none worse")])
def test_any_other_policy_is_deployed_with_a_note_unless_it_is_better(live_server, outcome, word):
    ended = Ended(live_server, outcome)
    assert ended.ending == Ending.DEPLOYED
    assert (ended.round.status, ended.round.policy_out) == (Round.Status.COMPLETE, ended.version)
    assert (word in ended.note) if word else ended.note == ""
    assert f"{ended.world.base} → {ended.version}" in what_changed(ended.round)


def test_judges_that_disagree_leave_it_open():
    world = World()
    round_ = world.round()
    version = world.trained(round_)
    world.evaluated(round_, version, "worse")
    assert is_clearly_worse(round_)
    world.evaluated(round_, version, "better", attempt=2)
    assert not is_clearly_worse(round_)
