"""Builders for tests of rounds: a project whose base policy is live and whose prompts are there."""

from typing import Any

from accounts.models import Project, Role, User
from core.jobs import JobStatus
from generation.models import Deployment, Endpoint, GenerationJob, ModelVersion, PromptSet
from loop.models import Round, RoundStep
from loop.rounds import Plan, start_round
from tests.annotation.builders import make_candidates, make_model, make_project, make_prompts, make_user
from training.models import Evaluation, Snapshot, TrainingRun


class World:
    """A project with Ravi, a live base policy and a prompt set."""

    def __init__(self, n_prompts: int = 4, **project_fields: Any) -> None:
        self.project: Project = make_project(**project_fields)
        self.ravi: User = make_user("Ravi", self.project, Role.RESEARCHER, Role.ANNOTATOR)
        self.base: ModelVersion = make_model(self.project, "base")
        self.prompts = make_prompts(self.project, n_prompts)
        self.prompt_set: PromptSet = self.prompts[0].set
        self.endpoint: Endpoint = Endpoint.objects.create(
            name=f"engine of {self.project.slug}", engine="vllm", base_url="http://127.0.0.1:1", state="ready"
        )
        self.live: Deployment = self.deployed(self.base)

    def deployed(self, version: ModelVersion, stage: str = Deployment.Stage.LIVE) -> Deployment:
        Deployment.objects.filter(project=self.project, alias="policy", stage="live").update(stage="draining")
        return Deployment.objects.create(
            project=self.project,
            endpoint=self.endpoint,
            model_version=version,
            alias="policy",
            served_name=f"{version.slug}-{version.key}",
            stage=stage,
            status=JobStatus.SUCCEEDED,
        )

    def round(self, **plan: Any) -> Round:
        return start_round(project=self.project, prompt_set=self.prompt_set, plan=Plan(**plan), by=self.ravi)

    def generated(self, job: GenerationJob, texts: tuple[str, ...] = ("one", "two")) -> None:
        """End a generation job as its worker would, with these answers to every prompt."""
        arm = job.arms.get()
        for prompt in self.prompts:
            make_candidates(arm, prompt, texts)
        n_answers = len(texts) * len(self.prompts)
        GenerationJob.objects.filter(pk=job.pk).update(
            status=JobStatus.SUCCEEDED, step=n_answers, total_steps=n_answers
        )

    def trained(self, round_: Round) -> ModelVersion:
        """A finished dataset and DPO run in this round, with the adapter that it produced."""
        snapshot = Snapshot.objects.create(
            project=self.project,
            name=f"snapshot-{round_.key}",
            status=JobStatus.SUCCEEDED,
            counts={"rows": {"train": 3, "test": 0}},
        )
        version = ModelVersion.objects.create(
            project=self.project,
            slug=f"policy-{round_.number}",
            kind="adapter",
            parent=self.base,
            artifact_sha256="a" * 64,
        )
        run = TrainingRun.objects.create(
            project=self.project,
            method="dpo",
            base=self.base,
            snapshot=snapshot,
            status=JobStatus.SUCCEEDED,
            produced=version,
        )
        RoundStep.objects.create(round=round_, stage=RoundStep.Stage.DATASET, snapshot=snapshot)
        RoundStep.objects.create(round=round_, stage=RoundStep.Stage.TRAIN, run=run)
        return version

    def evaluated(self, round_: Round, version: ModelVersion, outcome: str, *, attempt: int = 1) -> Evaluation:
        evaluation = Evaluation.objects.create(
            project=self.project,
            model_version=version,
            against=self.base,
            judge=Evaluation.Judge.PEOPLE,
            status=JobStatus.SUCCEEDED,
            outcome=outcome,
            value=0.6,
            low=0.55,
            high=0.65,
        )
        RoundStep.objects.create(round=round_, stage=RoundStep.Stage.EVALUATE, attempt=attempt, evaluation=evaluation)
        return evaluation
