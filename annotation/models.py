"""Campaigns, tasks, assignments and judgements. What people said is append-only: a correction is another row.

The constraints on ``Assignment`` carry the promises: never more than the overlap, never two by one person.
"""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from accounts.models import Project
from core.ids import new_key
from core.jobs import JobFields, JobStatus
from core.transitions import EventFields, status_check
from generation.models import Candidate, GenerationJob, Prompt


class Annotator(models.Model):
    """Who judges, under a pseudonym. Everything points here and never at ``User``: erasing a person cuts only this one link."""

    class Kind(models.TextChoices):
        HUMAN = "human"
        SIMULATED = "simulated"
        AI = "ai"
        OUTSIDE = "outside"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="annotators")
    pseudonym = models.CharField(max_length=60)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="annotators"
    )
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.HUMAN)
    source = models.CharField(max_length=60, blank=True)
    external_id = models.CharField(max_length=200, null=True, blank=True)  # noqa: DJ001  (null is "has none", for the unique key)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "pseudonym"], name="pseudonym_in_project"),
            models.UniqueConstraint(
                fields=["project", "user"], condition=Q(user__isnull=False), name="one_annotator_per_user"
            ),
            models.UniqueConstraint(
                fields=["project", "source", "external_id"],
                condition=Q(external_id__isnull=False),
                name="one_annotator_per_external_id",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=["human", "simulated", "ai", "outside"]), name="annotator_kind_known"
            ),
        ]

    def __str__(self) -> str:
        return self.pseudonym


class Campaign(JobFields):
    """A set of comparisons to be judged under one protocol. The job columns drive the building of its tasks."""

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
        Stage.CLOSED: set(),
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
    allow_both_bad = models.BooleanField(default=True)
    strength_levels = models.PositiveIntegerField(
        default=0, help_text="0: not asked; otherwise how many levels a preference has"
    )
    # {"pairs": "within" | "across" | "baseline", "baseline": model version key, "per_prompt": n, "max_tasks": n}
    pairing = models.JSONField(default=dict)
    jobs = models.ManyToManyField(GenerationJob, related_name="campaigns", help_text="whose candidates are compared")
    left_out = models.JSONField(default=dict, help_text="reason -> count: equal, empty, leaking")
    n_tasks = models.PositiveIntegerField(default=0)
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
    campaign = models.ForeignKey(Campaign, on_delete=models.CASCADE, related_name="tasks")
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
    task = models.ForeignKey(ComparisonTask, on_delete=models.CASCADE, related_name="slots")
    candidate = models.ForeignKey(Candidate, on_delete=models.PROTECT, related_name="slots")
    slot = models.PositiveIntegerField(help_text="from 0, by the candidates' keys: says nothing of the model")

    class Meta:
        ordering: ClassVar = ["slot"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["task", "slot"], name="one_candidate_per_slot"),
            models.UniqueConstraint(fields=["task", "candidate"], name="candidate_once_per_task"),
        ]


class Assignment(models.Model):
    """One person's turn at one task: a lease while open, the idempotency token of the judgement when submitted."""

    class Status(models.TextChoices):
        OPEN = "open"
        SUBMITTED = "submitted"
        SKIPPED = "skipped"
        RELEASED = "released"
        EXPIRED = "expired"

    class Purpose(models.TextChoices):
        WORK = "work"
        REPEAT = "repeat"
        REVIEW = "review"
        PRACTICE = "practice"

    # Only an open or submitted row holds a seat. Nobody is *offered* a task again; the ways back are the person's own:
    NEXT: ClassVar = {
        Status.OPEN: {Status.SUBMITTED, Status.SKIPPED, Status.RELEASED, Status.EXPIRED},
        Status.SUBMITTED: {Status.OPEN, Status.RELEASED},  # an undo; a void
        Status.EXPIRED: {Status.SUBMITTED},  # a late judgement, while a seat is free
        Status.SKIPPED: {Status.OPEN},  # "judge it after all", while a seat is free
    }

    key = models.CharField(max_length=12, unique=True, default=new_key, editable=False)
    task = models.ForeignKey(ComparisonTask, on_delete=models.CASCADE, related_name="assignments")
    annotator = models.ForeignKey(Annotator, on_delete=models.CASCADE, related_name="assignments")
    purpose = models.CharField(max_length=10, choices=Purpose.choices, default=Purpose.WORK)
    seat = models.PositiveIntegerField(null=True, blank=True, help_text="from 0; null outside work and after a void")
    display_order = models.JSONField(help_text="slots in the order shown, such as [1, 0]")
    leased_until = models.DateTimeField(null=True, blank=True)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.OPEN)
    skip_reason = models.CharField(max_length=200, blank=True)
    current = models.ForeignKey("Judgement", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    opened_at = models.DateTimeField(null=True, blank=True, help_text="when this lease began")
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["task", "annotator", "purpose"], name="one_turn_per_person_and_task"),
            models.UniqueConstraint(
                fields=["task", "seat"],
                condition=Q(status__in=["open", "submitted"], seat__isnull=False),
                name="one_person_per_seat",
            ),
            models.CheckConstraint(
                condition=Q(status__in=["open", "submitted", "skipped", "released", "expired"]),
                name="assignment_status_known",
            ),
            models.CheckConstraint(
                condition=Q(purpose__in=["work", "repeat", "review", "practice"]), name="assignment_purpose_known"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["annotator", "status", "finished_at"], name="assignment_of_person"),
            models.Index(fields=["leased_until"], condition=Q(status="open"), name="assignment_lease"),
        ]


class AssignmentEvent(EventFields):
    subject = models.ForeignKey(Assignment, on_delete=models.CASCADE, related_name="events")


class Place(models.Model):
    """Where a person stands in a campaign. Locked while they are given a task, so that two tabs do not take two."""

    annotator = models.ForeignKey(Annotator, on_delete=models.CASCADE, related_name="places")
    campaign = models.ForeignKey(Campaign, on_delete=models.CASCADE, related_name="places")
    # A hint: the search for a free task begins here and goes once round, so a wrong one costs time and nothing else.
    hand = models.BigIntegerField(null=True, blank=True)
    n_submitted = models.PositiveIntegerField(default=0, help_text="live judgements of this person's work")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["annotator", "campaign"], name="one_place_per_person_and_campaign")
        ]


class Judgement(models.Model):
    """What a person said about a task. Inserted, never updated; a correction, an undo or a void is the next revision."""

    class Source(models.TextChoices):
        ANNOTATOR = "annotator"
        ADJUDICATOR = "adjudicator"
        IMPORT = "import"
        AI = "ai"
        SIMULATED = "simulated"

    class Verdict(models.TextChoices):
        RANKED = "ranked"
        TIE = "tie"
        BOTH_GOOD = "both_good"
        ALL_BAD = "all_bad"
        WITHDRAWN = "withdrawn"  # an undo by its author
        VOIDED = "voided"  # set aside by a reviewer; its seat is open again

    key = models.CharField(max_length=12, unique=True, default=new_key, editable=False)
    assignment = models.ForeignKey(Assignment, on_delete=models.PROTECT, related_name="judgements")
    revision = models.PositiveIntegerField(default=1)
    source = models.CharField(max_length=12, choices=Source.choices, default=Source.ANNOTATOR)
    verdict = models.CharField(max_length=10, choices=Verdict.choices)
    strength = models.PositiveIntegerField(null=True, blank=True, help_text="1 = slightly ... levels = by far")
    reasons = models.JSONField(default=list)
    comment = models.TextField(blank=True)
    write_in = models.TextField(blank=True)
    seconds_active = models.FloatField(default=0)
    guidelines_version = models.PositiveIntegerField(default=1)
    is_unblinded = models.BooleanField(
        default=False, help_text="its author could have seen which model wrote one of the answers"
    )
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["assignment", "revision"], name="one_judgement_per_revision"),
            models.CheckConstraint(
                condition=Q(verdict__in=["ranked", "tie", "both_good", "all_bad", "withdrawn", "voided"]),
                name="verdict_known",
            ),
            models.CheckConstraint(
                condition=Q(source__in=["annotator", "adjudicator", "import", "ai", "simulated"]),
                name="judgement_source_known",
            ),
        ]


class RankedCandidate(models.Model):
    """One candidate's rank in one judgement: 1 is best, equal ranks are a tie."""

    judgement = models.ForeignKey(Judgement, on_delete=models.CASCADE, related_name="ranks")
    candidate = models.ForeignKey(Candidate, on_delete=models.PROTECT, related_name="ranks")
    rank = models.PositiveIntegerField()

    class Meta:
        ordering: ClassVar = ["rank", "id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["judgement", "candidate"], name="one_rank_per_candidate"),
            models.CheckConstraint(condition=Q(rank__gte=1), name="rank_from_one"),
        ]
