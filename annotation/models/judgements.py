"""Turns and what was said. A correction is another row: nothing that a person said is overwritten."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from annotation.models.campaigns import ComparisonTask
from annotation.models.people import Annotator
from core.ids import new_key
from core.transitions import EventFields
from generation.models import Candidate


class Assignment(models.Model):
    """One person's turn at one task: a lease while open, the idempotency token of the judgement when submitted.

    Of an imported vote ``opened_at`` is null where its source does not say in which order the answers were shown;
    ``display_order`` is then that of the slots, and says nothing.
    """

    class Status(models.TextChoices):
        OPEN = "open"
        PARKED = "parked"  # the person asked the lead: the seat is kept, and no lease runs
        SUBMITTED = "submitted"
        SKIPPED = "skipped"
        RELEASED = "released"
        EXPIRED = "expired"

    class Purpose(models.TextChoices):
        WORK = "work"
        REPEAT = "repeat"
        REVIEW = "review"
        PRACTICE = "practice"

    # Only an open, parked or submitted row holds a seat. Nobody is *offered* again what they have seen (a lease that ended
    # before its task was shown is); the other ways back are the person's own:
    NEXT: ClassVar = {
        Status.OPEN: {Status.SUBMITTED, Status.SKIPPED, Status.RELEASED, Status.EXPIRED, Status.PARKED},
        Status.PARKED: {Status.OPEN, Status.SUBMITTED, Status.SKIPPED, Status.RELEASED},
        Status.SUBMITTED: {Status.OPEN, Status.RELEASED},  # an undo; a void
        Status.EXPIRED: {Status.SUBMITTED, Status.OPEN},  # a late judgement, or at work again, while a seat is free
        Status.RELEASED: {Status.OPEN},  # a lease that was never seen
        Status.SKIPPED: {Status.OPEN},  # "judge it after all", while a seat is free
    }

    key = models.CharField(max_length=12, unique=True, default=new_key, editable=False)
    task = models.ForeignKey(ComparisonTask, on_delete=models.CASCADE, related_name="assignments", db_index=False)
    annotator = models.ForeignKey(Annotator, on_delete=models.CASCADE, related_name="assignments", db_index=False)
    purpose = models.CharField(max_length=10, choices=Purpose.choices, default=Purpose.WORK)
    seat = models.PositiveIntegerField(null=True, blank=True, help_text="from 0; null outside work and after a void")
    display_order = models.JSONField(help_text="slots in the order shown, such as [1, 0]")
    leased_until = models.DateTimeField(null=True, blank=True)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.OPEN)
    skip_reason = models.CharField(max_length=200, blank=True)
    current = models.ForeignKey("Judgement", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    opened_at = models.DateTimeField(
        null=True, blank=True, help_text="when this lease began; null while it is only prefetched and not yet shown"
    )
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["task", "annotator", "purpose"], name="one_turn_per_person_and_task"),
            models.UniqueConstraint(
                fields=["task", "seat"],
                condition=Q(status__in=["open", "parked", "submitted"], seat__isnull=False),
                name="one_person_per_seat",
            ),
            models.CheckConstraint(
                condition=Q(status__in=["open", "parked", "submitted", "skipped", "released", "expired"]),
                name="assignment_status_known",
            ),
            models.CheckConstraint(
                condition=Q(purpose__in=["work", "repeat", "review", "practice"]), name="assignment_purpose_known"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["annotator", "status", "finished_at"], name="assignment_of_person"),
            models.Index(fields=["leased_until"], condition=Q(status="open"), name="assignment_lease"),
            models.Index(fields=["annotator"], condition=Q(status__in=["open", "parked"]), name="assignment_in_hand"),
        ]


class AssignmentEvent(EventFields):
    subject = models.ForeignKey(Assignment, on_delete=models.CASCADE, related_name="events")


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
    assignment = models.ForeignKey(Assignment, on_delete=models.PROTECT, related_name="judgements", db_index=False)
    revision = models.PositiveIntegerField(default=1)
    source = models.CharField(max_length=12, choices=Source.choices, default=Source.ANNOTATOR)
    verdict = models.CharField(max_length=10, choices=Verdict.choices)
    strength = models.PositiveIntegerField(null=True, blank=True, help_text="1 = slightly ... levels = by far")
    reasons = models.JSONField(default=list)
    comment = models.TextField(blank=True)
    write_in = models.TextField(blank=True, help_text="a better answer, written by the person; a demonstration for SFT")
    edited_from = models.ForeignKey(
        Candidate,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="edits",
        db_index=False,
        help_text="what it was written from",
    )
    seconds_active = models.FloatField(default=0)
    guidelines_version = models.PositiveIntegerField(default=1)
    protocol_version = models.PositiveIntegerField(default=1)
    is_unblinded = models.BooleanField(
        default=False, help_text="its author could have seen which model wrote one of the answers"
    )
    is_probation = models.BooleanField(default=False, help_text="given while its author was on probation")
    source_id = models.CharField(max_length=100, blank=True, help_text="of an imported vote: its id where it came from")
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
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
        indexes: ClassVar = [
            models.Index(fields=["edited_from"], condition=Q(edited_from__isnull=False), name="judgement_edited_from"),
            models.Index(fields=["by"], condition=Q(by__isnull=False), name="judgement_by"),
        ]


class RankedCandidate(models.Model):
    """One candidate's rank in one judgement: 1 is best, equal ranks are a tie."""

    judgement = models.ForeignKey(Judgement, on_delete=models.CASCADE, related_name="ranks", db_index=False)
    candidate = models.ForeignKey(Candidate, on_delete=models.PROTECT, related_name="ranks")
    rank = models.PositiveIntegerField()

    class Meta:
        ordering: ClassVar = ["rank", "id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["judgement", "candidate"], name="one_rank_per_candidate"),
            models.CheckConstraint(condition=Q(rank__gte=1), name="rank_from_one"),
        ]


class Score(models.Model):
    """One criterion of one judgement: a value of one answer, or (candidate null) a comparison of all of them.

    ``value`` of a rating is a level of its scale, from ``low`` to ``high``; of a comparison of two it is -n ... n, negative
    where the answer in slot 0 is better, 0 a tie. Slots, not places: the order shown does not enter.
    """

    judgement = models.ForeignKey(Judgement, on_delete=models.CASCADE, related_name="scores")
    candidate = models.ForeignKey(Candidate, null=True, blank=True, on_delete=models.PROTECT, related_name="scores")
    criterion = models.CharField(max_length=40)
    value = models.IntegerField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["judgement", "candidate", "criterion"],
                condition=Q(candidate__isnull=False),
                name="one_score_per_answer_and_criterion",
            ),
            models.UniqueConstraint(
                fields=["judgement", "criterion"],
                condition=Q(candidate__isnull=True),
                name="one_score_per_comparison_and_criterion",
            ),
        ]
