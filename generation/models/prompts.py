"""Prompt sets, their prompts and the imports that brought them."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from accounts.models import Project
from core.ids import new_key
from core.jobs import JobFields, JobStatus
from core.transitions import EventFields, status_check


class PromptSet(models.Model):
    key = models.CharField(max_length=12, unique=True, default=new_key, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="prompt_sets")
    name = models.CharField(max_length=100)
    source = models.CharField(max_length=200, blank=True)
    licence = models.CharField(max_length=100, blank=True)
    is_holdout_only = models.BooleanField(default=False)
    n_prompts = models.PositiveIntegerField(default=0, help_text="kept by the importer")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["project", "name"], name="prompt_set_name_in_project")]

    def __str__(self) -> str:
        return self.name


class PromptQuerySet(models.QuerySet["Prompt"]):
    def ready(self) -> "PromptQuerySet":
        """Without the rows of an import that has not ended: they come all at once, or not at all."""
        return self.filter(Q(brought_by__isnull=True) | Q(brought_by__status=JobStatus.SUCCEEDED))


class Prompt(models.Model):
    class Split(models.TextChoices):
        TRAIN = "train"
        HOLDOUT = "holdout"

    key = models.CharField(max_length=12, unique=True, default=new_key, editable=False)
    set = models.ForeignKey(PromptSet, on_delete=models.CASCADE, related_name="prompts", db_index=False)
    number = models.PositiveIntegerField(help_text="position in the set, from 1, in the order of the import")
    messages = models.JSONField(help_text="[{role, content}], the last one by the user")
    # The user turns still to come, for scripted conversations such as MT-Bench's second turn.
    following_turns = models.JSONField(default=list)
    content_sha256 = models.CharField(max_length=64)
    group_sha256 = models.CharField(max_length=64, db_index=True)
    split = models.CharField(max_length=8, choices=Split.choices)
    tags = models.JSONField(default=list)
    note = models.TextField(blank=True)
    reference = models.TextField(blank=True)
    metadata = models.JSONField(default=dict)
    random = models.PositiveIntegerField(default=0, help_text="fixed random order: n at random = the first n by this")
    brought_by = models.ForeignKey(
        "PromptImport", null=True, blank=True, on_delete=models.SET_NULL, related_name="prompts"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = PromptQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["set", "content_sha256"], name="prompt_content_once_per_set"),
            models.CheckConstraint(condition=models.Q(split__in=["train", "holdout"]), name="prompt_split_known"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["set", "split", "random"], name="prompt_random_draw"),
            models.Index(fields=["set", "number"], name="prompt_in_order"),
        ]

    @property
    def last_turn(self) -> str:
        return str(self.messages[-1]["content"]) if self.messages else ""


class PromptImport(JobFields):
    """One upload on its way in: its file, its choices and its row-by-row report."""

    job_task: ClassVar = "generation.tasks.run_prompt_import"

    key = models.CharField(max_length=12, unique=True, default=new_key, editable=False)
    set = models.ForeignKey(PromptSet, on_delete=models.CASCADE, related_name="imports")
    filename = models.CharField(max_length=200, blank=True)
    stored_name = models.CharField(max_length=100, help_text="generated; below WHETSTONE_HOME/uploads")
    sha256 = models.CharField(max_length=64, blank=True)
    file_format = models.CharField(max_length=10, help_text="jsonl, csv, parquet or lines")
    options = models.JSONField(default=dict)
    skip_bad_rows = models.BooleanField(default=False)
    n_rows = models.PositiveIntegerField(default=0)
    n_added = models.PositiveIntegerField(default=0)
    n_duplicates = models.PositiveIntegerField(default=0)
    n_bad = models.PositiveIntegerField(default=0)
    bad_rows = models.JSONField(default=list, help_text="[{line, reason, excerpt}], the first thousand")
    notes = models.JSONField(default=list, help_text="sentences about the file: a byte order mark, left-out columns")
    # Set once every row has been read and found good (or is to be skipped): from then on rows are only stored.
    checked_at = models.DateTimeField(null=True, blank=True)
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            status_check("prompt_import_status", JobStatus),
            models.UniqueConstraint(
                fields=["set"],
                condition=Q(status__in=["queued", "running", "cancelling"]),
                name="one_open_import_per_set",
            ),
        ]


class PromptImportEvent(EventFields):
    subject = models.ForeignKey(PromptImport, on_delete=models.CASCADE, related_name="events")
