"""What is asked, of whom, about which answers."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from accounts.models import Project
from core.ids import new_key
from core.jobs import JobFields, JobStatus
from core.transitions import EventFields, status_check
from generation.models import Candidate, GenerationJob, Prompt


class Campaign(JobFields):
    """A set of comparisons to be judged under one protocol. The job columns drive the building of its tasks."""

    # What the annotate screen asks beyond the columns below is ``protocol``: see ``annotation.protocol.Protocol``.

    job_task: ClassVar = "annotation.tasks.build_campaign"

    class Kind(models.TextChoices):
        PAIR = "pair"
        RANK = "rank"
        RATE = "rate"

    class Stage(models.TextChoices):
        DRAFT = "draft"
        BUILDING = "building"
        OPEN = "open"
        PAUSED = "paused"
        CLOSED = "closed"

    # ``NEXT`` of JobFields is about ``status``, the building job; this one is about ``stage``, what people see.
    STAGE_NEXT: ClassVar = {
        Stage.DRAFT: {Stage.BUILDING},
        Stage.BUILDING: {Stage.OPEN, Stage.CLOSED},
        Stage.OPEN: {Stage.PAUSED, Stage.CLOSED},
        Stage.PAUSED: {Stage.OPEN, Stage.CLOSED},
        Stage.CLOSED: {Stage.OPEN},  # reopened
    }

    key = models.CharField(max_length=12, unique=True, default=new_key, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="campaigns")
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.PAIR)
    stage = models.CharField(max_length=10, choices=Stage.choices, default=Stage.DRAFT)
    question = models.CharField(max_length=300, default="Which answer is better?")
    guidelines = models.TextField(blank=True)
    guidelines_version = models.PositiveIntegerField(default=1)
    overlap = models.PositiveIntegerField(default=1)
    lease_minutes = models.PositiveIntegerField(default=30)
    allow_tie = models.BooleanField(default=True)
    allow_both_good = models.BooleanField(default=False)
    allow_both_bad = models.BooleanField(default=True)
    strength_levels = models.PositiveIntegerField(
        default=0, help_text="0: not asked; otherwise how many levels a preference has on each side"
    )
    protocol = models.JSONField(default=dict, help_text="the further questions, as annotation.protocol.Protocol")
    protocol_version = models.PositiveIntegerField(
        default=1, help_text="grows when the meaning changes after the start"
    )
    template = models.CharField(max_length=40, blank=True, help_text="the template it began from")
    cloned_from = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="clones")
    is_live = models.BooleanField(default=False, help_text="annotators write the prompts and models answer at once")
    is_sensitive = models.BooleanField(default=False, help_text="opt-in per person, blurred until revealed")
    support_text = models.TextField(blank=True, help_text="Markdown, beside sensitive tasks")
    cap_per_person = models.PositiveIntegerField(null=True, blank=True, help_text="judgements of one person in all")
    cap_per_day = models.PositiveIntegerField(null=True, blank=True, help_text="judgements of one person a day (UTC)")
    # {"groups": [name], "languages": [code], "people": [user key]}: who may judge; every empty list means everybody
    audience = models.JSONField(default=dict)
    # {"keys": bool, "n_practice": n, "n_qualification": n, "pass_mark": share, "tries": n, "probation": n}; {} for none
    onboarding = models.JSONField(default=dict)
    regression_share = models.FloatField(default=0, help_text="share of tasks: new version against the one before")
    chosen_is_worse = models.BooleanField(
        default=False, help_text="red-teaming: people choose the worse of two, and datasets turn it round"
    )
    pay_per_hour = models.FloatField(null=True, blank=True, help_text="for estimates of cost")
    # as annotation.pairs.Pairing
    pairing = models.JSONField(default=dict)
    jobs = models.ManyToManyField(GenerationJob, related_name="campaigns", help_text="whose candidates are compared")
    left_out = models.JSONField(default=dict, help_text="reason -> count: see campaign_views.LEFT_OUT")
    n_tasks = models.PositiveIntegerField(default=0)
    # Kept in step by ``annotation.retire``, so that progress need not look at the tasks.
    n_seats_retired = models.PositiveIntegerField(
        default=0, help_text="judgements that retired tasks still lacked: nobody waits for them"
    )
    closes_at = models.DateTimeField(null=True, blank=True, help_text="closes by itself then")
    closed_at = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(overlap__gte=1), name="campaign_overlap_at_least_one"),
            models.CheckConstraint(condition=Q(kind__in=["pair", "rank", "rate"]), name="campaign_kind_known"),
            models.CheckConstraint(
                condition=Q(stage__in=["draft", "building", "open", "paused", "closed"]), name="campaign_stage_known"
            ),
            status_check("campaign_status", JobStatus),
        ]

    def __str__(self) -> str:
        return self.name


class CampaignEvent(EventFields):
    subject = models.ForeignKey(Campaign, on_delete=models.CASCADE, related_name="events")


class ComparisonTask(models.Model):
    """One prompt with the candidates to be compared. ``seats`` is how many judgements it takes."""

    class Status(models.TextChoices):
        OPEN = "open"
        COMPLETE = "complete"
        RETIRED = "retired"

    NEXT: ClassVar = {
        Status.OPEN: {Status.COMPLETE, Status.RETIRED},
        Status.COMPLETE: {Status.OPEN, Status.RETIRED},  # open again: an undo or a void
    }

    key = models.CharField(max_length=12, unique=True, default=new_key, editable=False)
    campaign = models.ForeignKey(Campaign, on_delete=models.CASCADE, related_name="tasks", db_index=False)
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="tasks")
    candidates = models.ManyToManyField(Candidate, through="TaskCandidate", related_name="tasks")
    candidates_sha256 = models.CharField(max_length=64, help_text="over the candidates' keys, not their texts")
    seats = models.PositiveIntegerField()
    # Seats held by open and submitted assignments. Kept in step under the row's own lock, so that "next" need not count.
    n_taken = models.PositiveIntegerField(default=0)
    n_submitted = models.PositiveIntegerField(default=0)
    priority = models.IntegerField(default=0)
    position = models.PositiveIntegerField(
        help_text="random, fixed: the order in which tasks of one priority are offered"
    )
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.OPEN)
    chosen_why = models.CharField(max_length=60, blank=True)
    probability = models.FloatField(default=1.0)
    source_id = models.CharField(max_length=100, blank=True, help_text="of an imported task: its id where it came from")
    created_at = models.DateTimeField(auto_now_add=True)
    # Both are the database's own arithmetic, so they cannot fall out of step, and "next" is one walk along one small index:
    # SQLite uses a partial index only where its condition has no parameter, and neither database walks an OR of two columns.
    is_free = models.GeneratedField(
        expression=models.Case(
            models.When(status="open", n_taken__lt=F("seats"), then=models.Value(True)), default=models.Value(False)
        ),
        output_field=models.BooleanField(),
        db_persist=True,
    )
    line = models.GeneratedField(
        expression=F("position") - F("priority") * models.Value(2**32),
        output_field=models.BigIntegerField(),
        db_persist=True,
    )

    class Meta:
        verbose_name = "task"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["campaign", "candidates_sha256"], name="one_task_per_set_of_candidates"),
            models.CheckConstraint(condition=Q(status__in=["open", "complete", "retired"]), name="task_status_known"),
            models.CheckConstraint(condition=Q(n_taken__lte=models.F("seats")), name="task_never_overbooked"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["campaign", "line"], condition=Q(is_free=True), name="task_next_in_line"),
        ]


class ComparisonTaskEvent(EventFields):
    subject = models.ForeignKey(ComparisonTask, on_delete=models.CASCADE, related_name="events")


class TaskCandidate(models.Model):
    task = models.ForeignKey(ComparisonTask, on_delete=models.CASCADE, related_name="slots", db_index=False)
    candidate = models.ForeignKey(Candidate, on_delete=models.PROTECT, related_name="slots")
    slot = models.PositiveIntegerField(help_text="from 0, by the candidates' keys: says nothing of the model")

    class Meta:
        ordering: ClassVar = ["slot"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["task", "slot"], name="one_candidate_per_slot"),
            models.UniqueConstraint(fields=["task", "candidate"], name="candidate_once_per_task"),
        ]


class GuidelinesVersion(models.Model):
    """The guidelines as they stood. A judgement names the version that it was made under."""

    campaign = models.ForeignKey(Campaign, on_delete=models.CASCADE, related_name="guidelines_versions")
    number = models.PositiveIntegerField()
    text = models.TextField(blank=True)
    note = models.CharField(max_length=300, blank=True, help_text="what changed, in a sentence")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["campaign", "number"], name="one_text_per_guidelines_version")
        ]


class PracticeItem(models.Model):
    """A comparison with a known answer, for the way in. It belongs to no task: nobody's judgement depends on it."""

    class Use(models.TextChoices):
        KEYS = "keys"
        PRACTICE = "practice"
        QUALIFICATION = "qualification"

    key = models.CharField(max_length=12, unique=True, default=new_key, editable=False)
    campaign = models.ForeignKey(Campaign, on_delete=models.CASCADE, related_name="practice_items")
    use = models.CharField(max_length=16, choices=Use.choices)
    position = models.PositiveIntegerField(default=0)
    messages = models.JSONField(help_text="the prompt, as role and content")
    answers = models.JSONField(help_text="texts by slot")
    expected = models.JSONField(help_text="accepted answers, each as annotation.protocol.Said.stored() by slot")
    reason = models.TextField(blank=True, help_text="Markdown: why, shown after the answer in practice")
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["position", "id"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(use__in=["keys", "practice", "qualification"]), name="practice_use_known"
            )
        ]
