"""Live chats: a person writes the prompt, two models answer, the chosen answer continues. Each turn is one judgement."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from annotation.models.campaigns import Campaign, ComparisonTask
from annotation.models.people import Annotator
from core.ids import new_key
from core.transitions import EventFields
from generation.models import Candidate, GenerationJob, Prompt


class Conversation(models.Model):
    class Status(models.TextChoices):
        OPEN = "open"
        FINISHED = "finished"
        ABANDONED = "abandoned"

    NEXT: ClassVar = {Status.OPEN: {Status.FINISHED, Status.ABANDONED}}

    key = models.CharField(max_length=12, unique=True, default=new_key, editable=False)
    campaign = models.ForeignKey(Campaign, on_delete=models.CASCADE, related_name="conversations")
    annotator = models.ForeignKey(Annotator, on_delete=models.CASCADE, related_name="conversations")
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.OPEN)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(status__in=["open", "finished", "abandoned"]), name="conversation_status_known"
            ),
            models.UniqueConstraint(
                fields=["campaign", "annotator"], condition=Q(status="open"), name="one_open_conversation_per_person"
            ),
        ]


class ConversationEvent(EventFields):
    subject = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="events")


class Turn(models.Model):
    """One prompt of a conversation with the answers to it. ``task`` is null until both answers are there."""

    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="turns")
    number = models.PositiveIntegerField(help_text="from 1")
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="turns")
    job = models.ForeignKey(GenerationJob, on_delete=models.PROTECT, related_name="turns")
    task = models.OneToOneField(ComparisonTask, null=True, blank=True, on_delete=models.PROTECT, related_name="turn")
    chosen = models.ForeignKey(
        Candidate, null=True, blank=True, on_delete=models.PROTECT, related_name="turns_continued"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["number"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["conversation", "number"], name="one_turn_per_number")]
