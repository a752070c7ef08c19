"""Generation jobs, their arms, and the candidates that they wrote."""

from typing import ClassVar

from django.conf import settings
from django.db import models

from accounts.models import Project
from core.ids import new_key
from core.jobs import JobFields, JobStatus
from core.transitions import EventFields, status_check
from generation.models.prompts import Prompt, PromptSet
from generation.models.registry import ModelVersion
from generation.models.serving import Deployment


class GenerationJob(JobFields):
    """n answers a prompt, for a fixed selection of prompts, by each of its arms. The selection is frozen when it starts."""

    job_task: ClassVar = "generation.tasks.run_generation"
    job_max_attempts: ClassVar = 20  # a server that is down for long costs attempts, not the job

    class Kind(models.TextChoices):
        GENERATE = "generate"
        IMPORT = "import"
        LIVE = "live"
        HUMAN = "human"

    key = models.CharField(max_length=12, unique=True, default=new_key, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="generation_jobs")
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.GENERATE)
    prompt_set = models.ForeignKey(PromptSet, null=True, blank=True, on_delete=models.PROTECT, related_name="jobs")
    selection = models.JSONField(default=dict, help_text="the filter as asked: tags, split, unused first, n at random")
    prompt_ids = models.JSONField(default=list, help_text="the selection as frozen, in order")
    n_answers = models.PositiveIntegerField(default=4)
    seed = models.BigIntegerField(default=0)
    n_failed = models.PositiveIntegerField(default=0)
    failures = models.JSONField(default=list, help_text="[{prompt, arm, index, reason}], the first hundred")
    n_tokens = models.BigIntegerField(default=0, help_text="completion tokens written so far")
    n_shortened = models.PositiveIntegerField(
        default=0, help_text="answers whose length limit was lowered so that prompt and answer fit the context"
    )
    answers_per_second = models.FloatField(null=True, blank=True, help_text="of late, not since the start")
    tokens_per_second = models.FloatField(null=True, blank=True)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            status_check("generation_job_status", JobStatus),
            models.CheckConstraint(
                condition=models.Q(kind__in=["generate", "import", "live", "human"]), name="generation_kind_known"
            ),
        ]

    def __str__(self) -> str:
        return f"generation job {self.key}"

    @property
    def rate_per_second(self) -> float | None:
        """Answers a second of late: a server that was down for an hour must not spoil the time that is left."""
        return None if self.is_terminal else self.answers_per_second

    @property
    def n_expected(self) -> int:
        return self.total_steps or 0


class GenerationJobEvent(EventFields):
    subject = models.ForeignKey(GenerationJob, on_delete=models.CASCADE, related_name="events")


class JobArm(models.Model):
    """One model with one set of sampling settings within a job."""

    job = models.ForeignKey(GenerationJob, on_delete=models.CASCADE, related_name="arms")
    number = models.PositiveIntegerField(help_text="from 0; shown as a letter")
    model_version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="arms")
    deployment = models.ForeignKey(Deployment, null=True, blank=True, on_delete=models.PROTECT, related_name="arms")
    sampling = models.JSONField(default=dict, help_text="frozen: temperature, top_p, max_tokens, ...")
    engine_version = models.CharField(max_length=60, blank=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["job", "number"], name="arm_number_in_job")]

    @property
    def letter(self) -> str:
        """A, B, ... Z, AA: how an arm is called while its model is hidden."""
        number, letters = self.number + 1, ""
        while number:
            number, rest = divmod(number - 1, 26)
            letters = chr(65 + rest) + letters
        return letters


class Candidate(models.Model):
    """One answer. Its identity is (arm, prompt, index); its text is stored, never generated again."""

    key = models.CharField(max_length=12, unique=True, default=new_key, editable=False)
    arm = models.ForeignKey(JobArm, on_delete=models.CASCADE, related_name="candidates", db_index=False)
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="candidates")
    index = models.PositiveIntegerField()
    seed = models.BigIntegerField(default=0)
    text = models.TextField()
    text_sha256 = models.CharField(max_length=64)
    finish_reason = models.CharField(max_length=20, blank=True)
    n_prompt_tokens = models.PositiveIntegerField(null=True, blank=True)
    n_completion_tokens = models.PositiveIntegerField(null=True, blank=True)
    latency_seconds = models.FloatField(null=True, blank=True)
    continues = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="continuations", db_index=False
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["arm", "prompt", "index"], name="one_candidate_per_arm_prompt_index")
        ]
        indexes: ClassVar = [
            models.Index(fields=["continues"], condition=models.Q(continues__isnull=False), name="candidate_continues")
        ]


class ModelReveal(models.Model):
    """A person opened a page that says which model wrote this job's answers: what they judge of them afterwards is not blind."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    job = models.ForeignKey(GenerationJob, on_delete=models.CASCADE, related_name="reveals")
    page = models.CharField(max_length=60)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["user", "job"], name="one_reveal_per_person_and_job")]
