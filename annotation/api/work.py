"""The API of what a campaign holds: its tasks, and what people said about them. Nothing here names a model or an account."""

from dataclasses import asdict
from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied

from accounts.access import allows
from accounts.api.base import Given, ProjectApi, call, key_of
from accounts.models import Role
from accounts.tokens import Scope
from annotation import campaign_work
from annotation.judge import live_judgements, void_judgement
from annotation.models import Campaign, ComparisonTask, Judgement, TaskCandidate
from annotation.rows import saids_of
from core.api import StrictSerializer

READERS = (Scope.READ, Scope.REVIEW)
MAX_REASON = 500


class TaskAnswerSerializer(serializers.ModelSerializer[TaskCandidate]):
    key = serializers.CharField(source="candidate.key")
    text = serializers.CharField(source="candidate.text", allow_blank=True)

    class Meta:
        model = TaskCandidate
        fields = ("slot", "key", "text")


class TaskSerializer(serializers.ModelSerializer[ComparisonTask]):
    prompt = key_of()
    prompt_set = serializers.CharField(source="prompt.set.key")
    split = serializers.CharField(source="prompt.split")
    answers = TaskAnswerSerializer(source="slots", many=True)

    class Meta:
        model = ComparisonTask
        fields = (
            "key", "prompt", "prompt_set", "split", "status", "seats", "n_taken", "n_submitted", "priority", "chosen_why",
            "probability", "source_id", "answers", "created_at",
        )  # fmt: skip


class TaskFilterSerializer(serializers.Serializer[Any]):
    split = serializers.ChoiceField(required=False, choices=["train", "holdout"])
    status = serializers.ChoiceField(required=False, choices=[*ComparisonTask.Status.values, "free", "held"])
    priority = serializers.ChoiceField(required=False, choices=list(campaign_work.PRIORITIES))


class PrioritySerializer(StrictSerializer):
    tasks = serializers.ListField(child=serializers.CharField(max_length=12), allow_empty=False, max_length=1000)
    priority = serializers.ChoiceField(choices=list(campaign_work.PRIORITIES))


class RetireSerializer(StrictSerializer):
    tasks = serializers.ListField(child=serializers.CharField(max_length=12), allow_empty=False, max_length=1000)
    note = serializers.CharField(max_length=MAX_REASON)


class CountSerializer(serializers.Serializer[Any]):
    n = serializers.IntegerField(help_text="tasks that were changed")


class _OfCampaign(ProjectApi):
    def campaign(self, key: str) -> Campaign:
        found: Campaign = self.found(Campaign.objects.filter(project=self.project), key=key)
        return found

    @property
    def tasks(self) -> Any:
        rows = ComparisonTask.objects.select_related("prompt__set").prefetch_related("slots__candidate")
        return rows.filter(campaign__project=self.project)


class Tasks(_OfCampaign):
    @call(*READERS, query=TaskFilterSerializer, lists=TaskSerializer)
    def get(self, given: Given, key: str) -> Any:
        """The tasks of a campaign with their answers, in the order in which they were built."""
        wanted = {name: given[name] for name in ("split", "status", "priority") if name in given}
        chosen = campaign_work.tasks_of(self.campaign(key), **wanted)
        return self.page(
            TaskSerializer, self.tasks.filter(pk__in=chosen.order_by().values("pk")), is_newest_first=False
        )


class OneTask(_OfCampaign):
    @call(*READERS, tells=TaskSerializer)
    def get(self, given: Given, key: str, task: str) -> Any:
        """One task."""
        return self.found(self.tasks.filter(campaign=self.campaign(key)), key=task)


class PrioritiseTasks(_OfCampaign):
    @call(Scope.CAMPAIGN, asks=PrioritySerializer, tells=CountSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Put tasks first in line, back to their place, or last."""
        campaign = self.campaign(key)
        chosen = self.tasks.filter(key__in=given["tasks"])
        return {"n": campaign_work.set_priority(campaign, chosen, given["priority"], by=self.by)}


class RetireTasks(_OfCampaign):
    @call(Scope.CAMPAIGN, asks=RetireSerializer, tells=CountSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Take tasks out of the campaign for good."""
        campaign = self.campaign(key)
        chosen = self.tasks.filter(key__in=given["tasks"])
        return {"n": campaign_work.retire_tasks(campaign, chosen, by=self.by, note=given["note"])}


# ---- judgements --------------------------------------------------------------------------------------------------------


class JudgementSerializer(serializers.ModelSerializer[Judgement]):
    """What a person said. Answers are named by slot, their fixed place in the task; ``display_order`` is what was shown."""

    task = serializers.CharField(source="assignment.task.key")
    annotator = serializers.CharField(source="assignment.annotator.pseudonym")
    display_order = serializers.JSONField(source="assignment.display_order")
    said = serializers.JSONField(help_text="ranks, strength, scores, reasons, comment, write_in, flags")

    class Meta:
        model = Judgement
        fields = (
            "key", "task", "annotator", "revision", "source", "verdict", "said", "display_order", "seconds_active",
            "guidelines_version", "protocol_version", "is_unblinded", "is_probation", "source_id", "created_at",
        )  # fmt: skip


class JudgementFilterSerializer(serializers.Serializer[Any]):
    annotator = serializers.CharField(required=False, max_length=60, help_text="a pseudonym")
    is_probation = serializers.BooleanField(required=False, default=None, allow_null=True)
    verdict = serializers.ChoiceField(required=False, choices=["ranked", "tie", "both_good", "all_bad"])


class VoidSerializer(StrictSerializer):
    reason = serializers.CharField(max_length=MAX_REASON)


def with_said(judgements: list[Judgement]) -> list[Judgement]:
    """Each with ``said``, for the serializer: in few queries for all of them."""
    saids = saids_of(judgements)
    for judgement in judgements:
        judgement.said = {  # type: ignore[attr-defined]
            name: value for name, value in asdict(saids[judgement.pk]).items() if not name.endswith("_seconds")
        }
    return judgements


class Judgements(_OfCampaign):
    @call(*READERS, query=JudgementFilterSerializer, lists=JudgementSerializer)
    def get(self, given: Given, key: str) -> Any:
        """The judgements that stand, newest first."""
        rows = live_judgements().filter(assignment__task__campaign=self.campaign(key))
        wanted = {"annotator": "assignment__annotator__pseudonym", "is_probation": "is_probation", "verdict": "verdict"}
        rows = rows.filter(**{column: given[name] for name, column in wanted.items() if given.get(name) is not None})
        rows = rows.select_related("assignment__task", "assignment__annotator")
        return self.page(JudgementSerializer, rows, shown=with_said)


class VoidJudgement(_OfCampaign):
    @call(Scope.REVIEW, asks=VoidSerializer)
    def post(self, given: Given, key: str, judgement: str) -> None:
        """Set a judgement aside: the row is kept, its seat is open again. For reviewers."""
        if not allows(self.membership, Role.REVIEWER):
            raise PermissionDenied("Judgements are set aside by reviewers.")
        rows = Judgement.objects.filter(assignment__task__campaign=self.campaign(key))
        void_judgement(judgement=self.found(rows, key=judgement), by=self.by, reason=given["reason"])
