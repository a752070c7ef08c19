"""Rounds: the only tables that know all the stages. A round's steps point at what each stage made."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from accounts.models import Project
from annotation.models import Campaign
from core.ids import new_key
from core.transitions import EventFields
from generation.models import Deployment, GenerationJob, ModelVersion, PromptSet
from training.models import Evaluation, Snapshot, TrainingRun


class Round(models.Model):
    class Status(models.TextChoices):
        OPEN = "open"
        COMPLETE = "complete"
        ABANDONED = "abandoned"

    NEXT: ClassVar = {Status.OPEN: {Status.COMPLETE, Status.ABANDONED}}

    key = models.CharField(max_length=12, unique=True, default=new_key, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="rounds")
    number = models.PositiveIntegerField()
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.OPEN)
    prompt_set = models.ForeignKey(PromptSet, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    policy_in = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="+")
    policy_out = models.ForeignKey(ModelVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    # What the researcher asked of this round: n prompts, answers a prompt, judgements, methods.
    plan = models.JSONField(default=dict)
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "number"], name="round_number_in_project"),
            models.UniqueConstraint(fields=["project"], condition=Q(status="open"), name="one_open_round_per_project"),
            models.CheckConstraint(
                condition=Q(status__in=["open", "complete", "abandoned"]), name="round_status_known"
            ),
        ]


class RoundEvent(EventFields):
    subject = models.ForeignKey(Round, on_delete=models.CASCADE, related_name="events")


class RoundStep(models.Model):
    """One attempt at one stage of a round, and what it made."""

    class Stage(models.TextChoices):
        PROMPTS = "prompts"
        GENERATE = "generate"
        ANNOTATE = "annotate"
        DATASET = "dataset"
        REWARD = "reward"
        TRAIN = "train"
        EVALUATE = "evaluate"
        DEPLOY = "deploy"

    round = models.ForeignKey(Round, on_delete=models.CASCADE, related_name="steps")
    stage = models.CharField(max_length=10, choices=Stage.choices)
    attempt = models.PositiveIntegerField(default=1)
    job = models.ForeignKey(GenerationJob, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    campaign = models.ForeignKey(Campaign, null=True, blank=True, on_delete=models.PROTECT, related_name="round_steps")
    snapshot = models.ForeignKey(Snapshot, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    run = models.ForeignKey(TrainingRun, null=True, blank=True, on_delete=models.PROTECT, related_name="round_steps")
    evaluation = models.ForeignKey(Evaluation, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    deployment = models.ForeignKey(Deployment, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    note = models.TextField(blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["round", "stage", "attempt"], name="one_step_per_stage_and_attempt"),
            models.CheckConstraint(
                condition=Q(
                    stage__in=["prompts", "generate", "annotate", "dataset", "reward", "train", "evaluate", "deploy"]
                ),
                name="round_stage_known",
            ),
        ]
