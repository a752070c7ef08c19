"""Who judges, under a pseudonym, and where each person stands in a campaign."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from accounts.models import Project
from annotation.models.campaigns import Campaign, PracticeItem


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


class Place(models.Model):
    """Where a person stands in a campaign. Locked while they are given a task, so that two tabs do not take two."""

    class Stage(models.TextChoices):
        KEYS = "keys"  # three tasks that teach the keys
        PRACTICE = "practice"  # the reason is shown after each answer
        QUALIFICATION = "qualification"
        FAILED = "failed"  # no tries left
        PROBATION = "probation"
        NORMAL = "normal"

    NEXT: ClassVar = {
        Stage.KEYS: {Stage.PRACTICE, Stage.QUALIFICATION, Stage.PROBATION, Stage.NORMAL},
        Stage.PRACTICE: {Stage.QUALIFICATION, Stage.PROBATION, Stage.NORMAL},
        Stage.QUALIFICATION: {Stage.FAILED, Stage.PROBATION, Stage.NORMAL, Stage.PRACTICE},
        Stage.FAILED: {Stage.QUALIFICATION, Stage.NORMAL},  # a lead gives another try, or lets the person in
        Stage.PROBATION: {Stage.NORMAL, Stage.QUALIFICATION},
        Stage.NORMAL: {Stage.QUALIFICATION, Stage.PROBATION},  # a lead asks for proof again
    }

    annotator = models.ForeignKey(Annotator, on_delete=models.CASCADE, related_name="places")
    campaign = models.ForeignKey(Campaign, on_delete=models.CASCADE, related_name="places")
    # A hint: the search for a free task begins here and goes once round, so a wrong one costs time and nothing else.
    hand = models.BigIntegerField(null=True, blank=True)
    n_submitted = models.PositiveIntegerField(default=0, help_text="live judgements of this person's work")
    day = models.DateField(null=True, blank=True, help_text="of n_today, in UTC")
    n_today = models.PositiveIntegerField(default=0, help_text="live judgements given on that day, for the daily caps")
    stage = models.CharField(max_length=16, choices=Stage.choices, default=Stage.NORMAL)
    n_tries = models.PositiveIntegerField(default=0, help_text="qualifications begun")
    n_probation_left = models.PositiveIntegerField(default=0, help_text="judgements until probation ends")
    guidelines_version = models.PositiveIntegerField(default=0, help_text="the latest version this person confirmed")
    agreed_sensitive_at = models.DateTimeField(null=True, blank=True, help_text="null: has not agreed, or took it back")
    blocked_at = models.DateTimeField(null=True, blank=True, help_text="a lead took this person off the campaign")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["annotator", "campaign"], name="one_place_per_person_and_campaign"),
            models.CheckConstraint(
                condition=Q(stage__in=["keys", "practice", "qualification", "failed", "probation", "normal"]),
                name="place_stage_known",
            ),
        ]


class PracticeAnswer(models.Model):
    """What a person said to a practice item, and whether it was right. Not a judgement: it never enters any data."""

    place = models.ForeignKey(Place, on_delete=models.CASCADE, related_name="practice_answers")
    item = models.ForeignKey(PracticeItem, on_delete=models.CASCADE, related_name="practice_answers")
    attempt = models.PositiveIntegerField(default=1, help_text="of the qualification")
    display_order = models.JSONField(help_text="slots in the order shown")
    said = models.JSONField(null=True, blank=True, help_text="as annotation.protocol.Said.stored(); null: not answered")
    is_right = models.BooleanField(null=True, blank=True)
    seconds_active = models.FloatField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    answered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["place", "item", "attempt"], name="one_practice_answer_per_attempt")
        ]


class Workday(models.Model):
    """What one person did in one campaign on one day (UTC): the rows of a statement of work."""

    place = models.ForeignKey(Place, on_delete=models.CASCADE, related_name="workdays")
    day = models.DateField()
    active_seconds = models.FloatField(default=0, help_text="page visible and person not idle; 0 where switched off")
    open_seconds = models.FloatField(default=0, help_text="page open")
    n_judged = models.PositiveIntegerField(default=0)
    n_practice = models.PositiveIntegerField(default=0)
    n_skipped = models.PositiveIntegerField(default=0)
    n_parked = models.PositiveIntegerField(default=0)
    n_returned = models.PositiveIntegerField(default=0, help_text="too late or set aside; the time counts as worked")

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["place", "day"], name="one_workday_per_place_and_day")]
        indexes: ClassVar = [models.Index(fields=["day"], name="workday_by_day")]
