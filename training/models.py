"""Frozen datasets, training runs and evaluations: how judgements become a model, and how one knows that it is better."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from accounts.models import Project
from annotation.models import Campaign, Judgement
from core.ids import new_key
from core.jobs import JobFields, JobStatus
from core.transitions import EventFields, status_check
from generation.models import GenerationJob, ModelVersion, PromptSet


class Snapshot(JobFields):
    """A preference dataset: recipe, recorded membership, files and hash. Never changed once frozen: see ``training.sealed``."""

    job_task: ClassVar = "training.tasks.run_freeze"

    key = models.CharField(max_length=12, unique=True, default=new_key, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="snapshots")
    name = models.CharField(max_length=100)
    purpose = models.CharField(max_length=20, default="preference")
    # {"campaigns": [keys], "with_simulated": bool, "with_unblinded": bool, ...}
    selection = models.JSONField(default=dict)
    pair_policy = models.JSONField(default=dict, help_text="consensus or one row per vote; ties; caps")
    campaigns = models.ManyToManyField(Campaign, related_name="snapshots")
    # From then on the members stand, whatever people judge, undo or void afterwards; a worker that is killed goes on from here.
    sealed_at = models.DateTimeField(null=True, blank=True, help_text="when its membership was recorded")
    facts = models.JSONField(default=dict, help_text="as training.rows.Facts, recorded with the membership")
    counts = models.JSONField(default=dict, help_text="rows, prompts, people, dropped by reason, per split")
    sha256 = models.CharField(max_length=64, blank=True, help_text="over the canonical JSONL of all rows")
    artifact_sha256 = models.CharField(max_length=64, blank=True, help_text="the stored directory, kind 'datasets'")
    first_artifact_sha256 = models.CharField(
        max_length=64, blank=True, help_text="as it was frozen, where text was erased since: only its manifest is left"
    )
    erased_at = models.DateTimeField(null=True, blank=True, help_text="when text in it was erased last")
    waived_at = models.DateTimeField(null=True, blank=True, help_text="since when it may be trained on all the same")
    waived_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    waiver = models.TextField(blank=True, help_text="why")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "name"], name="snapshot_name_in_project"),
            status_check("snapshot_status", JobStatus),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_ready(self) -> bool:
        return self.status == JobStatus.SUCCEEDED

    @property
    def erasure_note(self) -> str:
        """What whoever takes its rows away should know; empty where nothing was erased."""
        if self.erased_at is None:
            return ""
        return (
            f"Text in this dataset was erased on {self.erased_at:%Y-%m-%d}: the rows that held it say so in its place."
        )

    @property
    def is_blocked(self) -> bool:
        """Whether text in it was erased, and nobody has said that it may be trained on all the same."""
        return self.erased_at is not None and self.waived_at is None


class SnapshotEvent(EventFields):
    subject = models.ForeignKey(Snapshot, on_delete=models.CASCADE, related_name="events")


class SnapshotJudgement(models.Model):
    """Membership, recorded at the freeze in one consistent read: "which snapshots hold this judgement?" and back."""

    class Split(models.TextChoices):
        TRAIN = "train"
        TEST = "test"

    snapshot = models.ForeignKey(Snapshot, on_delete=models.CASCADE, related_name="members")
    judgement = models.ForeignKey(Judgement, on_delete=models.PROTECT, related_name="memberships")
    # Recorded too: a prompt that is held out in one set and not in another must not depend on who asks when.
    split = models.CharField(max_length=5, choices=Split.choices, default=Split.TRAIN)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["snapshot", "judgement"], name="judgement_once_per_snapshot"),
            models.CheckConstraint(condition=Q(split__in=["train", "test"]), name="snapshot_split_known"),
        ]


class Erasure(JobFields):
    """A text that was erased, and the datasets whose files are replaced for it. It keeps hashes and a reason, never the text."""

    job_task: ClassVar = "training.tasks.run_erasure"

    key = models.CharField(max_length=12, unique=True, default=new_key, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="erasures")
    what = models.CharField(max_length=10, help_text="prompt, exchange, write_in or comment")
    judgement_key = models.CharField(max_length=12)
    prompt_sha256 = models.CharField(max_length=64, help_text="content hash of the prompt")
    text_sha256s = models.JSONField(default=list, help_text="of the texts, to find them in the files")
    note = models.TextField()
    quotes = models.JSONField(default=list, help_text="[{what, key}]: what else held the text then, letter by letter")
    snapshots = models.ManyToManyField(Snapshot, related_name="erasures")
    artifact_sha256s = models.JSONField(
        default=list, help_text="directories it replaced or made: of those no dataset has, the manifest alone stays"
    )
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            status_check("erasure_status", JobStatus),
            models.CheckConstraint(
                condition=Q(what__in=["prompt", "exchange", "write_in", "comment"]), name="erasure_what_known"
            ),
        ]

    def __str__(self) -> str:
        return f"erasure {self.key}"


class ErasureEvent(EventFields):
    subject = models.ForeignKey(Erasure, on_delete=models.CASCADE, related_name="events")


class ExportJob(JobFields):
    """A frozen dataset in one format as one file: made once for all who ask, kept for a while, made again when asked again."""

    job_task: ClassVar = "training.tasks.run_export"

    key = models.CharField(max_length=12, unique=True, default=new_key, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="exports")
    snapshot = models.ForeignKey(Snapshot, on_delete=models.CASCADE, related_name="exports")
    file_format = models.CharField(max_length=40, help_text="a name of training.exports.formats")
    container = models.CharField(max_length=20, help_text="a name of training.exports.containers")
    options = models.JSONField(default=dict, help_text="as training.exports.options.Options")
    source_sha256 = models.CharField(max_length=64, help_text="the dataset's directory that it was made from")
    recipe_sha256 = models.CharField(max_length=64, help_text="over all of the above: one live export of each recipe")
    filename = models.CharField(max_length=200)
    n_rows = models.BigIntegerField(default=0)
    n_bytes = models.BigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True, help_text="of the file")
    artifact_sha256 = models.CharField(max_length=64, blank=True, help_text="the stored directory, kind 'exports'")
    expires_at = models.DateTimeField(null=True, blank=True, help_text="the file is deleted then")
    removed_at = models.DateTimeField(null=True, blank=True, help_text="when it was deleted")
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            status_check("export_status", JobStatus),
            models.UniqueConstraint(
                fields=["snapshot", "recipe_sha256"],
                condition=Q(removed_at__isnull=True, status__in=["queued", "running", "cancelling", "succeeded"]),
                name="one_live_export_of_a_recipe",
            ),
        ]

    def __str__(self) -> str:
        return self.filename

    @property
    def is_ready(self) -> bool:
        return self.status == JobStatus.SUCCEEDED and self.removed_at is None


class ExportJobEvent(EventFields):
    subject = models.ForeignKey(ExportJob, on_delete=models.CASCADE, related_name="events")


class ComparisonJob(JobFields):
    """Two frozen datasets side by side, where reading them takes longer than a page may. It keeps numbers and places, never a text."""

    job_task: ClassVar = "training.tasks.run_comparison"

    key = models.CharField(max_length=12, unique=True, default=new_key, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="comparisons")
    first = models.ForeignKey(Snapshot, on_delete=models.CASCADE, related_name="+", help_text="the earlier one")
    second = models.ForeignKey(Snapshot, on_delete=models.CASCADE, related_name="comparisons")
    # Their files as they were: what was found says nothing of a redacted revision.
    first_sha256 = models.CharField(max_length=64, help_text="its directory, kind 'datasets'")
    second_sha256 = models.CharField(max_length=64, help_text="its directory, kind 'datasets'")
    found = models.JSONField(default=dict, help_text="as training.comparing.stored")
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            status_check("comparison_status", JobStatus),
            models.UniqueConstraint(
                fields=["first", "second", "first_sha256", "second_sha256"],
                condition=Q(status__in=["queued", "running", "cancelling", "succeeded"]),
                name="one_live_comparison_of_two",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.second} beside {self.first}"

    @property
    def is_ready(self) -> bool:
        return self.status == JobStatus.SUCCEEDED

    @property
    def is_of_the_files_now(self) -> bool:
        now = self.first.artifact_sha256, self.second.artifact_sha256
        return now == (self.first_sha256, self.second_sha256)


class ComparisonJobEvent(EventFields):
    subject = models.ForeignKey(ComparisonJob, on_delete=models.CASCADE, related_name="events")


class PushJob(JobFields):
    """A frozen dataset, or one export of it, sent to a hub or to S3-compatible storage. Credentials are settings, never rows."""

    job_task: ClassVar = "training.tasks.run_push"

    class Destination(models.TextChoices):
        HUB = "hub", "Hub"
        S3 = "s3", "S3-compatible storage"

    key = models.CharField(max_length=12, unique=True, default=new_key, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="pushes")
    snapshot = models.ForeignKey(Snapshot, on_delete=models.CASCADE, related_name="pushes")
    export = models.ForeignKey(
        ExportJob,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="pushes",
        help_text="null: the dataset itself",
    )
    destination = models.CharField(max_length=10, choices=Destination.choices)
    target = models.CharField(max_length=200, help_text="as typed: owner/name on a hub, a folder on S3")
    address = models.CharField(max_length=500, help_text="the whole of it")
    is_public = models.BooleanField(default=False, help_text="of a repository that the push makes")
    with_votes = models.BooleanField(
        default=False, help_text="with the records, the lineage and the rows as JSON Lines"
    )
    source_sha256 = models.CharField(max_length=64, help_text="the dataset's directory that it is made from")
    # Whose place it is: what lies there already is overwritten only where this project put it there.
    begun_at = models.DateTimeField(null=True, blank=True, help_text="when the place was found free, or ours")
    sent = models.JSONField(default=dict, help_text="file -> SHA-256, of those that lie there whole")
    n_files = models.PositiveIntegerField(default=0)
    n_bytes = models.BigIntegerField(default=0)
    revision = models.CharField(max_length=64, blank=True, help_text="commit on a hub; on S3 the manifest's hash")
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            status_check("push_status", JobStatus),
            models.CheckConstraint(condition=Q(destination__in=["hub", "s3"]), name="push_destination_known"),
            models.UniqueConstraint(
                fields=["address"],
                condition=Q(status__in=["queued", "running", "cancelling"]),
                name="one_open_push_to_an_address",
            ),
        ]

    def __str__(self) -> str:
        return f"push to {self.address}"

    @property
    def is_done(self) -> bool:
        return self.status == JobStatus.SUCCEEDED


class PushJobEvent(EventFields):
    subject = models.ForeignKey(PushJob, on_delete=models.CASCADE, related_name="events")


class TrainingRun(JobFields):
    """One method on one snapshot from one model, with a frozen spec. Its child process is replaceable."""

    job_task: ClassVar = "training.tasks.supervise_run"
    job_queue: ClassVar = "gpu"

    class Method(models.TextChoices):
        DPO = "dpo", "DPO"
        REWARD = "reward", "Reward model"

    class Effort(models.TextChoices):
        SMOKE = "smoke", "Smoke test"
        SMALL = "small", "Small"
        FULL = "full", "Full"

    key = models.CharField(max_length=12, unique=True, default=new_key, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="runs")
    name = models.CharField(max_length=100, blank=True)
    method = models.CharField(max_length=20)
    effort = models.CharField(max_length=10, choices=Effort.choices, default=Effort.SMALL)
    base = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="runs_from")
    snapshot = models.ForeignKey(Snapshot, on_delete=models.PROTECT, related_name="runs")
    reward_model = models.ForeignKey(ModelVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    spec = models.JSONField(default=dict, help_text="frozen; paths are filled in by the supervisor")
    spec_sha256 = models.CharField(max_length=64, blank=True)
    seed = models.BigIntegerField(default=0)
    lane = models.CharField(max_length=20, default="gpu", help_text="one running run per lane")
    last_checkpoint = models.CharField(max_length=100, blank=True)
    n_resumes = models.PositiveIntegerField(default=0)
    pid = models.PositiveIntegerField(null=True, blank=True)
    versions = models.JSONField(default=dict, help_text="code and packages that trained it")
    command = models.TextField(blank=True, help_text="repeats the run by hand")
    samples = models.JSONField(default=list, help_text="[{step, prompt, answer}] as it learns")
    produced = models.OneToOneField(
        ModelVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="produced_by"
    )
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            status_check("training_run_status", JobStatus),
            models.UniqueConstraint(
                fields=["project", "method"],
                condition=Q(status__in=["queued", "running", "cancelling"]),
                name="one_open_run_per_project_and_method",
            ),
        ]

    def __str__(self) -> str:
        return self.name or f"{self.method} {self.key}"


class TrainingRunEvent(EventFields):
    subject = models.ForeignKey(TrainingRun, on_delete=models.CASCADE, related_name="events")


class MetricPoint(models.Model):
    run = models.ForeignKey(TrainingRun, on_delete=models.CASCADE, related_name="metrics")
    step = models.PositiveIntegerField()
    name = models.CharField(max_length=60)
    value = models.FloatField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "name", "step"], name="one_value_per_metric_and_step")
        ]


class Evaluation(JobFields):
    """How a version does on holdout prompts, and who says so. Judges are never mixed."""

    job_task: ClassVar = "training.tasks.run_evaluation"

    class Judge(models.TextChoices):
        REWARD_ACCURACY = "reward_accuracy", "Reward accuracy on held-out judgements"
        REWARD_MODEL = "reward_model", "Win rate by the reward model"
        SIMULATED = "simulated", "Win rate by the simulated people's noise-free preference"
        PEOPLE = "people", "Win rate by people"

    class Outcome(models.TextChoices):
        BETTER = "better"
        WORSE = "worse"
        UNCLEAR = "unclear"
        NONE = "none"  # too few prompts, or a judge that cannot call a win

    key = models.CharField(max_length=12, unique=True, default=new_key, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="evaluations")
    model_version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="evaluations")
    against = models.ForeignKey(ModelVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    prompt_set = models.ForeignKey(PromptSet, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    snapshot = models.ForeignKey(Snapshot, null=True, blank=True, on_delete=models.PROTECT, related_name="evaluations")
    reward_model = models.ForeignKey(ModelVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    # Whose answers or judgements are compared: sampled for this evaluation, or given by people in a campaign.
    job = models.ForeignKey(GenerationJob, null=True, blank=True, on_delete=models.PROTECT, related_name="evaluations")
    campaign = models.ForeignKey(Campaign, null=True, blank=True, on_delete=models.PROTECT, related_name="evaluations")
    judge = models.CharField(max_length=20, choices=Judge.choices)
    options = models.JSONField(default=dict, help_text="answers per prompt, sampling, seed")
    n_prompts = models.PositiveIntegerField(default=0)
    wins = models.FloatField(default=0)
    ties = models.FloatField(default=0)
    losses = models.FloatField(default=0)
    value = models.FloatField(null=True, blank=True, help_text="win rate (ties one half) or accuracy")
    low = models.FloatField(null=True, blank=True, help_text="95 % interval, prompts resampled")
    high = models.FloatField(null=True, blank=True)
    ceiling = models.FloatField(
        null=True, blank=True, help_text="people's agreement on the same pairs, where there is overlap"
    )
    outcome = models.CharField(max_length=10, choices=Outcome.choices, default=Outcome.NONE)
    details = models.JSONField(default=dict)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            status_check("evaluation_status", JobStatus),
            models.CheckConstraint(
                condition=Q(judge__in=["reward_accuracy", "reward_model", "simulated", "people"]),
                name="evaluation_judge_known",
            ),
            models.CheckConstraint(
                condition=Q(outcome__in=["better", "worse", "unclear", "none"]), name="evaluation_outcome_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_judge_display()} of {self.model_version}"


class EvaluationEvent(EventFields):
    subject = models.ForeignKey(Evaluation, on_delete=models.CASCADE, related_name="events")
