"""Where models are served: endpoints, and the deployments that put a version behind an alias."""

from typing import ClassVar

from django.conf import settings
from django.db import models

from accounts.models import Project
from core.ids import new_key
from core.jobs import JobFields, JobStatus
from core.transitions import EventFields, status_check
from generation.models.registry import ModelVersion


class Endpoint(models.Model):
    """A server that answers. It names its secret (an environment variable or file), and never holds it."""

    class Engine(models.TextChoices):
        VLLM = "vllm", "vLLM"
        LOCAL = "local", "In-process engine"
        OPENAI = "openai", "OpenAI-compatible (sampling only)"

    class State(models.TextChoices):
        UNKNOWN = "unknown"
        STARTING = "starting"
        READY = "ready"
        DOWN = "down"

    class Reach(models.TextChoices):
        SHARED = "shared", "Shares a disk with the app (or a mapped path)"
        WORKER = "worker", "A Whetstone worker beside it fetches artifacts"

    key = models.CharField(max_length=12, unique=True, default=new_key, editable=False)
    name = models.CharField(max_length=100, unique=True)
    engine = models.CharField(max_length=10, choices=Engine.choices)
    base_url = models.CharField(max_length=300)
    secret_name = models.CharField(max_length=100, blank=True)
    base_model = models.CharField(max_length=500, blank=True, help_text="path or hub id that it serves")
    base_served_name = models.CharField(max_length=200, blank=True)
    reach = models.CharField(max_length=10, choices=Reach.choices, default=Reach.SHARED)
    path_from = models.CharField(max_length=300, blank=True, help_text="the app's artifact directory ...")
    path_to = models.CharField(max_length=300, blank=True, help_text="... and where the server sees it")
    is_managed = models.BooleanField(default=False, help_text="started and supervised by Whetstone (serve_engine)")
    max_loras = models.PositiveIntegerField(default=4)
    max_lora_rank = models.PositiveIntegerField(default=16)
    max_model_length = models.PositiveIntegerField(
        null=True, blank=True, help_text="context in tokens, as the server says"
    )
    max_concurrency = models.PositiveIntegerField(default=64)
    timeout_seconds = models.PositiveIntegerField(default=120)
    state = models.CharField(max_length=10, choices=State.choices, default=State.UNKNOWN)
    state_message = models.TextField(blank=True, default="")
    state_at = models.DateTimeField(null=True, blank=True)
    # Grows each time a managed server starts: adapters loaded before it are gone and are loaded again.
    generation = models.PositiveIntegerField(default=0)
    version = models.CharField(max_length=60, blank=True)
    is_enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(engine__in=["vllm", "local", "openai"]), name="endpoint_engine_known"
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=["unknown", "starting", "ready", "down"]), name="endpoint_state_known"
            ),
            models.CheckConstraint(condition=models.Q(reach__in=["shared", "worker"]), name="endpoint_reach_known"),
        ]

    def __str__(self) -> str:
        return self.name


class Deployment(JobFields):
    """One version on one endpoint behind one alias. ``job`` columns drive the loading; ``stage`` says what it serves."""

    job_task: ClassVar = "generation.tasks.run_deployment"

    class Stage(models.TextChoices):
        PENDING = "pending"
        LOADING = "loading"
        CHECKING = "checking"
        LIVE = "live"
        DRAINING = "draining"
        RETIRED = "retired"
        FAILED = "failed"

    key = models.CharField(max_length=12, unique=True, default=new_key, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="deployments")
    endpoint = models.ForeignKey(Endpoint, on_delete=models.PROTECT, related_name="deployments")
    model_version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="deployments")
    alias = models.CharField(max_length=60, default="policy")
    served_name = models.CharField(max_length=120, help_text="fresh for every deployment, never used again")
    stage = models.CharField(max_length=10, choices=Stage.choices, default=Stage.PENDING)
    replaces = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    canary = models.JSONField(default=dict, help_text="what the canary measured, in nats per token")
    loaded_generation = models.PositiveIntegerField(
        null=True, blank=True, help_text="the endpoint's generation it was loaded in"
    )
    live_at = models.DateTimeField(null=True, blank=True)
    retired_at = models.DateTimeField(null=True, blank=True)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(
                    stage__in=["pending", "loading", "checking", "live", "draining", "retired", "failed"]
                ),
                name="deployment_stage_known",
            ),
            status_check("deployment_status", JobStatus),
            models.UniqueConstraint(
                fields=["project", "alias"], condition=models.Q(stage="live"), name="one_live_deployment_per_alias"
            ),
            models.UniqueConstraint(fields=["endpoint", "served_name"], name="served_name_once_per_endpoint"),
        ]


class DeploymentEvent(EventFields):
    subject = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="events")
