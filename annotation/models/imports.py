"""Votes of people from elsewhere on their way in."""

from typing import ClassVar

from django.conf import settings
from django.db import models

from accounts.models import Project
from annotation.models.campaigns import Campaign
from core.ids import new_key
from core.jobs import JobFields, JobStatus
from core.transitions import EventFields, status_check
from generation.models import GenerationJob, PromptSet


class ImportStatus(models.TextChoices):
    DRAFT = "draft"  # uploaded and shown, not yet asked for
    QUEUED = JobStatus.QUEUED.value
    RUNNING = JobStatus.RUNNING.value
    CANCELLING = JobStatus.CANCELLING.value
    SUCCEEDED = JobStatus.SUCCEEDED.value
    FAILED = JobStatus.FAILED.value
    CANCELLED = JobStatus.CANCELLED.value


class VoteImport(JobFields):
    """One file of votes: its choices, its report, and what it became. A draft waits for a person to look at its preview."""

    job_task: ClassVar = "annotation.tasks.run_vote_import"

    NEXT: ClassVar[dict[str, set[JobStatus]]] = {  # type: ignore[assignment]  # one state more than a job
        **{str(state): targets for state, targets in JobFields.NEXT.items()},
        ImportStatus.DRAFT.value: {JobStatus.QUEUED, JobStatus.CANCELLED},
    }

    key = models.CharField(max_length=12, unique=True, default=new_key, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="vote_imports")
    name = models.CharField(max_length=100, help_text="of the campaign and the prompt set that it becomes")
    source = models.CharField(max_length=60, help_text="where the people are from: one id there is one person here")
    filename = models.CharField(max_length=200, blank=True)
    stored_name = models.CharField(max_length=100, help_text="generated; below WHETSTONE_HOME/uploads")
    sha256 = models.CharField(max_length=64)
    n_bytes = models.BigIntegerField(default=0)
    file_format = models.CharField(
        max_length=40, blank=True, help_text="a name of annotation.votes.formats; of a draft empty until it is mapped"
    )
    mapping = models.JSONField(default=dict, blank=True, help_text="role -> column, of a file that no format knows")
    # annotation.votes.choices.Choices: guidelines, licence, is_holdout_only, open_for
    choices = models.JSONField(default=dict)
    skip_bad_rows = models.BooleanField(default=False)
    n_rows = models.PositiveIntegerField(default=0)
    n_bad = models.PositiveIntegerField(default=0)
    bad_rows = models.JSONField(default=list, help_text="[{line, reason, excerpt}], the first thousand")
    notes = models.JSONField(default=list, help_text="sentences about the file")
    counts = models.JSONField(default=dict, help_text="prompts, models, answers, tasks, votes, people, ties, ...")
    # Set once every row has been read and found good (or is to be skipped): from then on rows are only stored, from the
    # checked copy, whose first ``step`` lines of ``offset`` bytes are stored already.
    checked_at = models.DateTimeField(null=True, blank=True)
    offset = models.BigIntegerField(default=0)
    campaign = models.OneToOneField(
        Campaign, null=True, blank=True, on_delete=models.SET_NULL, related_name="vote_import"
    )
    prompt_set = models.ForeignKey(
        PromptSet, null=True, blank=True, on_delete=models.SET_NULL, related_name="vote_imports"
    )
    job = models.ForeignKey(
        GenerationJob, null=True, blank=True, on_delete=models.SET_NULL, related_name="vote_imports"
    )
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [status_check("vote_import_status", ImportStatus)]
        indexes: ClassVar = [models.Index(fields=["project", "sha256"], name="vote_import_of_file")]

    def __str__(self) -> str:
        return self.name


class VoteImportEvent(EventFields):
    subject = models.ForeignKey(VoteImport, on_delete=models.CASCADE, related_name="events")
