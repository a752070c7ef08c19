"""What stands around judging: flags, drafts, questions to the lead, rulings, announcements."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from accounts.models import Project
from annotation.models.campaigns import Campaign, ComparisonTask
from annotation.models.judgements import Assignment
from annotation.models.people import Annotator
from core.ids import new_key
from core.transitions import EventFields
from generation.models import Candidate


class Flag(models.Model):
    """Somebody says that something is wrong with a task or one of its answers."""

    class Kind(models.TextChoices):
        HARMFUL = "harmful", "Harmful"
        PRIVATE = "private", "Private data"
        NAMES_MODEL = "names_model", "Names its model"
        BROKEN = "broken", "Broken"
        CANNOT_JUDGE = "cannot_judge", "Cannot judge"

    class Status(models.TextChoices):
        OPEN = "open"
        UPHELD = "upheld"
        DISMISSED = "dismissed"
        WITHDRAWN = "withdrawn"

    NEXT: ClassVar = {
        Status.OPEN: {Status.UPHELD, Status.DISMISSED, Status.WITHDRAWN},
        Status.WITHDRAWN: {Status.OPEN},
        Status.UPHELD: {Status.OPEN},
        Status.DISMISSED: {Status.OPEN},
    }

    key = models.CharField(max_length=12, unique=True, default=new_key, editable=False)
    task = models.ForeignKey(ComparisonTask, on_delete=models.CASCADE, related_name="flags")
    candidate = models.ForeignKey(Candidate, null=True, blank=True, on_delete=models.PROTECT, related_name="flags")
    annotator = models.ForeignKey(Annotator, on_delete=models.CASCADE, related_name="flags")
    kind = models.CharField(max_length=16, choices=Kind.choices)
    reason = models.CharField(max_length=1000, blank=True)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.OPEN)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["task", "candidate", "annotator", "kind"],
                condition=Q(candidate__isnull=False),
                name="one_flag_of_a_kind_per_answer",
            ),
            models.UniqueConstraint(
                fields=["task", "annotator", "kind"],
                condition=Q(candidate__isnull=True),
                name="one_flag_of_a_kind_per_task",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=["harmful", "private", "names_model", "broken", "cannot_judge"]),
                name="flag_kind_known",
            ),
            models.CheckConstraint(
                condition=Q(status__in=["open", "upheld", "dismissed", "withdrawn"]), name="flag_status_known"
            ),
        ]


class FlagEvent(EventFields):
    subject = models.ForeignKey(Flag, on_delete=models.CASCADE, related_name="events")


class Draft(models.Model):
    """What a person has entered and not sent yet: one per assignment, gone when it is submitted."""

    assignment = models.OneToOneField(Assignment, on_delete=models.CASCADE, related_name="draft")
    said = models.JSONField(help_text="the form's fields as they stand, half-done or not")
    # Of two tabs the later one wins, and a late packet of the earlier changes nothing.
    number = models.BigIntegerField(default=0, help_text="grows with each save on the page")
    updated_at = models.DateTimeField(auto_now=True)


class Question(models.Model):
    """An annotator's question about a parked task; its answer goes back to the asker and may become a ruling."""

    class Status(models.TextChoices):
        OPEN = "open"
        ANSWERED = "answered"
        WITHDRAWN = "withdrawn"

    NEXT: ClassVar = {Status.OPEN: {Status.ANSWERED, Status.WITHDRAWN}, Status.ANSWERED: {Status.OPEN}}

    key = models.CharField(max_length=12, unique=True, default=new_key, editable=False)
    campaign = models.ForeignKey(Campaign, on_delete=models.CASCADE, related_name="questions")
    assignment = models.ForeignKey(Assignment, on_delete=models.CASCADE, related_name="questions")
    text = models.TextField()
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.OPEN)
    answer = models.TextField(blank=True)
    answered_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    answered_at = models.DateTimeField(null=True, blank=True)
    seen_at = models.DateTimeField(null=True, blank=True, help_text="when the asker read the answer")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(status__in=["open", "answered", "withdrawn"]), name="question_status_known"
            ),
            models.UniqueConstraint(
                fields=["assignment"], condition=Q(status="open"), name="one_open_question_per_assignment"
            ),
        ]


class QuestionEvent(EventFields):
    subject = models.ForeignKey(Question, on_delete=models.CASCADE, related_name="events")


class Ruling(models.Model):
    """A dated decision of the lead, with its example, in the drawer for everybody."""

    key = models.CharField(max_length=12, unique=True, default=new_key, editable=False)
    campaign = models.ForeignKey(Campaign, on_delete=models.CASCADE, related_name="rulings")
    question = models.OneToOneField(
        Question, null=True, blank=True, on_delete=models.SET_NULL, related_name="ruling", help_text="what it came from"
    )
    title = models.CharField(max_length=200)
    text = models.TextField()
    # {"messages": [...], "answers": [text by slot]}: the example as it was shown, without anything of a model
    example = models.JSONField(default=dict, blank=True)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    edited_at = models.DateTimeField(null=True, blank=True, help_text="when it was last worded anew")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["-id"]


class Announcement(models.Model):
    """A note to all annotators of a project or of one campaign, which they confirm."""

    key = models.CharField(max_length=12, unique=True, default=new_key, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="announcements")
    campaign = models.ForeignKey(
        Campaign, null=True, blank=True, on_delete=models.CASCADE, related_name="announcements"
    )
    text = models.TextField(help_text="Markdown")
    must_confirm = models.BooleanField(default=True)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["-id"]


class AnnouncementRead(models.Model):
    announcement = models.ForeignKey(Announcement, on_delete=models.CASCADE, related_name="reads")
    annotator = models.ForeignKey(Annotator, on_delete=models.CASCADE, related_name="announcements_read")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["announcement", "annotator"], name="announcement_read_once")
        ]
