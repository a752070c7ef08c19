"""Builders for tests of live conversations: a campaign over two arms, and a person who writes in it."""

from typing import Any

from accounts.models import Project
from annotation.judge import submit_judgement
from annotation.live import send_prompt, start_conversation
from annotation.live_campaigns import start_live_campaign
from annotation.live_standing import assignment_of_turn
from annotation.live_turns import answer_turn
from annotation.models import Annotator, Assignment, Campaign, Conversation, Turn
from annotation.protocol import Said
from generation.models import Deployment, Endpoint, ModelVersion
from generation.sampling_run import run_generation
from tests.annotation.builders import make_annotator, make_project
from tests.generation.stub_vllm import StubVllm

WORDS = "What is the capital of France?"


def make_deployment(project: Project, url: str, served_name: str = "base", **endpoint: Any) -> Deployment:
    version = ModelVersion.objects.create(
        project=project, slug=f"model-{ModelVersion.objects.count()}", kind="base", source="/models/base"
    )
    values = {"max_concurrency": 4, "timeout_seconds": 2, "state": "ready"} | endpoint
    server = Endpoint.objects.filter(base_url=url).first() or Endpoint.objects.create(
        name=f"server {url}", engine="vllm", base_url=url, **values
    )
    return Deployment.objects.create(
        project=project,
        endpoint=server,
        model_version=version,
        served_name=served_name,
        alias=f"alias-{version.pk}",
        stage="live",
        status="succeeded",
    )


def make_live(
    stub: StubVllm, project: Project | None = None, *, n_turns: int = 100, system: str = "", **options: Any
) -> Campaign:
    """An open live campaign: one model at two temperatures."""
    project = project or make_project()
    deployment = make_deployment(project, stub.url)
    arms = [{"deployment": deployment, "sampling": {"temperature": t, "max_tokens": 32}} for t in (0.5, 1.0)]
    return start_live_campaign(
        project=project, name="Chat", arms=arms, n_turns=n_turns, system=system, options=options, by=None
    )


class Writer:
    """Ana, who writes and judges through the services."""

    def __init__(self, campaign: Campaign, annotator: Annotator | None = None) -> None:
        self.campaign = campaign
        self.me = annotator or make_annotator(campaign.project)
        self.talk: Conversation = start_conversation(campaign=campaign, annotator=self.me)

    @property
    def last(self) -> Turn:
        return self.talk.turns.order_by("-number")[0]

    @property
    def assignment(self) -> Assignment:
        found = assignment_of_turn(self.last)
        assert found is not None
        return found

    def write(self, text: str = WORDS) -> Turn:
        number = self.talk.turns.count() + 1
        return send_prompt(conversation_key=self.talk.key, annotator=self.me, number=number, text=text)

    def answer(self) -> None:
        """What a worker does with the message of the latest turn."""
        answer_turn(self.last.pk, run_generation)

    def judge(self, choice: str = "a") -> None:
        given = {"choice": choice}
        turn = self.assignment
        said = Said.from_fields(given, campaign=turn.task.campaign, display_order=turn.display_order)
        submit_judgement(assignment_key=turn.key, annotator=self.me, said=said)

    def turn(self, choice: str = "a", text: str = WORDS) -> Turn:
        """A whole turn."""
        self.write(text)
        self.answer()
        self.judge(choice)
        return self.last
