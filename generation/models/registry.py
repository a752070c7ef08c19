"""The registry of model versions: everything that wrote an answer or can be trained from."""

from typing import ClassVar

from django.conf import settings
from django.db import models

from accounts.models import Project
from core.ids import new_key
from core.jobs import JobFields, JobStatus
from core.transitions import EventFields, status_check


class ModelVersion(models.Model):
    """One immutable model. An adapter has a parent; an outside model has no artifact and is never deployed or trained from."""

    class Kind(models.TextChoices):
        BASE = "base", "Base model"
        FULL = "full", "Full weights"
        ADAPTER = "adapter", "Adapter (LoRA)"
        OUTSIDE = "outside", "Outside model"

    class Purpose(models.TextChoices):
        POLICY = "policy", "Policy"
        REWARD = "reward", "Reward model"

    key = models.CharField(max_length=12, unique=True, default=new_key, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="model_versions")
    slug = models.SlugField(max_length=60)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    purpose = models.CharField(max_length=10, choices=Purpose.choices, default=Purpose.POLICY)
    # What it was trained from: the model or adapter before it. The base at the root is ``root``.
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="children")
    source = models.CharField(max_length=500, blank=True, help_text="path or hub id@revision of a base model")
    artifact_sha256 = models.CharField(max_length=64, blank=True)
    chat_template_sha256 = models.CharField(max_length=64, blank=True)
    licence = models.CharField(max_length=100, blank=True)
    is_toy = models.BooleanField(default=False, help_text="the starter model and what is trained from it")
    facts = models.JSONField(
        default=dict, help_text="n_parameters, context_length, rank, dtype: from the content check"
    )
    note = models.TextField(blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "slug"], name="model_slug_in_project"),
            models.CheckConstraint(
                condition=models.Q(kind__in=["base", "full", "adapter", "outside"]), name="model_kind_known"
            ),
            models.CheckConstraint(condition=models.Q(purpose__in=["policy", "reward"]), name="model_purpose_known"),
            models.CheckConstraint(
                condition=~models.Q(kind="adapter") | models.Q(parent__isnull=False), name="adapter_has_a_parent"
            ),
            models.CheckConstraint(
                condition=~models.Q(kind="outside") | models.Q(artifact_sha256=""), name="outside_has_no_artifact"
            ),
            models.CheckConstraint(
                condition=models.Q(kind__in=["base", "outside"]) | ~models.Q(artifact_sha256=""),
                name="trained_model_has_an_artifact",
            ),
        ]

    def __str__(self) -> str:
        return self.slug

    @property
    def lineage(self) -> list["ModelVersion"]:
        """This version and its ancestors, newest first."""
        versions: list[ModelVersion] = []
        version: ModelVersion | None = self
        while version is not None:
            versions.append(version)
            version = version.parent
        return versions

    @property
    def root(self) -> "ModelVersion":
        """The model whose full weights vLLM serves under this version: itself, unless it is an adapter."""
        return next(version for version in self.lineage if version.kind != self.Kind.ADAPTER)

    @property
    def is_trainable(self) -> bool:
        return self.kind != self.Kind.OUTSIDE


class ModelFetch(JobFields):
    """A base model on its way from a hub: fetched, checked by content, then registered."""

    job_task: ClassVar = "generation.tasks.run_model_fetch"

    key = models.CharField(max_length=12, unique=True, default=new_key, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="model_fetches")
    source = models.CharField(max_length=500, help_text="hub id, with @revision where one was given")
    slug = models.SlugField(max_length=60)
    licence = models.CharField(max_length=100, blank=True)
    note = models.TextField(blank=True)
    model_version = models.ForeignKey(
        ModelVersion, null=True, blank=True, on_delete=models.SET_NULL, related_name="fetches"
    )
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [status_check("model_fetch_status", JobStatus)]


class ModelFetchEvent(EventFields):
    subject = models.ForeignKey(ModelFetch, on_delete=models.CASCADE, related_name="events")
