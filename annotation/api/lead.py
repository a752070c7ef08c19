"""The API of those who lead: flags, questions, rulings. People appear under their pseudonyms, models not at all."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.api.base import Given, InProject, ProjectApi, call, key_of
from accounts.tokens import Scope
from annotation import flag_handling, questions, rulings
from annotation.examples import example_of
from annotation.flag_handling import MAX_NOTE, flagged
from annotation.models import Campaign, Flag, Question, Ruling
from annotation.people import shown_name
from annotation.question_views import ruling_from
from core.api import StrictSerializer

# ---- flags -------------------------------------------------------------------------------------------------------------


class FlagSerializer(serializers.ModelSerializer[Flag]):
    campaign = serializers.CharField(source="task.campaign.key")
    task = key_of()
    about = serializers.SerializerMethodField(help_text="answer, or task as a whole")
    by = serializers.SerializerMethodField()

    class Meta:
        model = Flag
        fields = ("key", "campaign", "task", "about", "kind", "reason", "status", "by", "created_at")

    def get_about(self, flag: Flag) -> str:
        return "answer" if flag.candidate_id is not None else "task"

    def get_by(self, flag: Flag) -> str:
        return shown_name(flag.annotator, self.context["membership"])


class FlaggedSerializer(serializers.Serializer[Any]):
    """A flag with the task as the person saw it who raised it, and what upholding it would do."""

    flag = FlagSerializer()
    messages = serializers.SerializerMethodField()
    answers = serializers.SerializerMethodField()
    letter = serializers.CharField(allow_blank=True, help_text="the answer that it is about; empty: the whole task")
    n_tasks = serializers.IntegerField(help_text="that upholding it retires")
    n_judgements = serializers.IntegerField()
    n_same = serializers.IntegerField(help_text="open flags of others about the same")

    @extend_schema_field(serializers.JSONField())
    def get_messages(self, found: Any) -> Any:
        return found.example.stored()["messages"]

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_answers(self, found: Any) -> Any:
        return found.example.stored()["answers"]


class FlagFilterSerializer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(required=False, choices=Flag.Status.choices)
    kind = serializers.ChoiceField(required=False, choices=Flag.Kind.choices)


class DecisionSerializer(StrictSerializer):
    decision = serializers.ChoiceField(choices=["uphold", "dismiss", "reopen"])
    note = serializers.CharField(default="", allow_blank=True, max_length=MAX_NOTE)


class _Flags(ProjectApi):
    @property
    def rows(self) -> QuerySet[Flag]:
        rows = Flag.objects.select_related("task__campaign__project", "task__prompt", "annotator__user", "candidate")
        return rows.filter(task__campaign__project=self.project)


class Flags(_Flags):
    @call(Scope.REVIEW, query=FlagFilterSerializer, lists=FlagSerializer)
    def get(self, given: Given) -> Any:
        """Flags, newest first."""
        return self.rows.filter(**{name: given[name] for name in ("status", "kind") if name in given})


class OneFlag(_Flags):
    @call(Scope.REVIEW, tells=FlaggedSerializer)
    def get(self, given: Given, key: str) -> Any:
        """One flag with its task."""
        return flagged(self.found(self.rows, key=key))


class DecideFlag(_Flags):
    @call(Scope.REVIEW, asks=DecisionSerializer, tells=FlaggedSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Uphold (leave the answer out, or retire the task), dismiss (the note is read by whoever raised it), or reopen."""
        found = self.found(self.rows, key=key)
        if given["decision"] == "uphold":
            flag_handling.uphold(flag=found, by=self.by, note=given["note"])
        elif given["decision"] == "dismiss":
            flag_handling.dismiss(flag=found, by=self.by, note=given["note"])
        else:
            flag_handling.reopen(flag=found, by=self.by)
        return flagged(self.found(self.rows, key=key))


# ---- questions ---------------------------------------------------------------------------------------------------------


class QuestionSerializer(serializers.ModelSerializer[Question]):
    campaign = key_of()
    by = serializers.SerializerMethodField()
    messages = serializers.SerializerMethodField(help_text="the task as its asker sees it")
    answers = serializers.SerializerMethodField()
    ruling = serializers.SerializerMethodField(help_text="key of the ruling that it became; null: none")

    class Meta:
        model = Question
        fields = (
            "key", "campaign", "status", "by", "text", "answer", "answered_at", "seen_at", "messages", "answers", "ruling",
            "created_at",
        )  # fmt: skip

    def to_representation(self, question: Question) -> Any:
        self.example = example_of(question.assignment).stored()
        return super().to_representation(question)

    def get_by(self, question: Question) -> str:
        return shown_name(question.assignment.annotator, self.context["membership"])

    @extend_schema_field(serializers.JSONField())
    def get_messages(self, question: Question) -> Any:
        return self.example["messages"]

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_answers(self, question: Question) -> Any:
        return self.example["answers"]

    def get_ruling(self, question: Question) -> str | None:
        ruling = Ruling.objects.filter(question=question).first()
        return ruling.key if ruling else None


class QuestionFilterSerializer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(required=False, choices=Question.Status.choices)
    campaign = InProject(lambda project: Campaign.objects.filter(project=project), required=False)


class AnswerTextSerializer(StrictSerializer):
    answer = serializers.CharField(max_length=questions.MAX_CHARS, help_text="Markdown")


class RuleSerializer(StrictSerializer):
    """Out of the question's own words where nothing is given."""

    title = serializers.CharField(required=False, max_length=rulings.MAX_TITLE)
    text = serializers.CharField(required=False, max_length=rulings.MAX_TEXT, help_text="Markdown")
    has_example = serializers.BooleanField(default=True)


class RulingSerializer(serializers.ModelSerializer[Ruling]):
    campaign = key_of()
    question = key_of(allow_null=True)

    class Meta:
        model = Ruling
        fields = ("key", "campaign", "question", "title", "text", "example", "created_at", "withdrawn_at")


class _Questions(ProjectApi):
    @property
    def rows(self) -> QuerySet[Question]:
        rows = Question.objects.select_related(
            "campaign__project", "assignment__annotator__user", "assignment__task__prompt", "answered_by"
        )
        return rows.filter(campaign__project=self.project)


class Questions(_Questions):
    @call(Scope.REVIEW, query=QuestionFilterSerializer, lists=QuestionSerializer)
    def get(self, given: Given) -> Any:
        """Questions of annotators, newest first."""
        return self.rows.filter(**{name: given[name] for name in ("status", "campaign") if name in given})


class OneQuestion(_Questions):
    @call(Scope.REVIEW, tells=QuestionSerializer)
    def get(self, given: Given, key: str) -> Any:
        """One question with the task as its asker sees it."""
        return self.found(self.rows, key=key)


class AnswerQuestion(_Questions):
    @call(Scope.REVIEW, asks=AnswerTextSerializer, tells=QuestionSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Answer a question, or put its answer right: the asker is told."""
        return questions.answer(question=self.found(self.rows, key=key), text=given["answer"], by=self.by)


class ReopenQuestion(_Questions):
    @call(Scope.REVIEW, tells=QuestionSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Take an answer back while its asker has not gone on with the task."""
        found = self.found(self.rows, key=key)
        questions.reopen(question=found, by=self.by)
        return found


class RuleQuestion(_Questions):
    @call(Scope.REVIEW, asks=RuleSerializer, tells=RulingSerializer, once=True)
    def post(self, given: Given, key: str) -> Any:
        """Make an answered question a ruling, in the guidelines of everybody in the campaign."""
        found = self.found(self.rows, key=key)
        words: dict[str, Any] = {**ruling_from(found), **given}
        return rulings.rule(campaign=found.campaign, question=found, by=self.by, **words)


class NewRulingSerializer(StrictSerializer):
    title = serializers.CharField(max_length=rulings.MAX_TITLE)
    text = serializers.CharField(max_length=rulings.MAX_TEXT, help_text="Markdown")


class Rulings(ProjectApi):
    @call(Scope.REVIEW, Scope.READ, lists=RulingSerializer)
    def get(self, given: Given, key: str) -> Any:
        """The rulings of a campaign, withdrawn ones too, newest first."""
        return rulings.rulings_of(self.found(Campaign.objects.filter(project=self.project), key=key))

    @call(Scope.REVIEW, asks=NewRulingSerializer, tells=RulingSerializer, status=201, once=True)
    def post(self, given: Given, key: str) -> Any:
        """Put a decision into the guidelines drawer."""
        campaign = self.found(Campaign.objects.filter(project=self.project), key=key)
        return rulings.rule(campaign=campaign, title=given["title"], text=given["text"], by=self.by)


class WithdrawRuling(ProjectApi):
    @call(Scope.REVIEW, tells=RulingSerializer)
    def post(self, given: Given, key: str, ruling: str) -> Any:
        """Take a ruling out of the drawer."""
        campaign = self.found(Campaign.objects.filter(project=self.project), key=key)
        found = self.found(rulings.rulings_of(campaign), key=ruling)
        rulings.withdraw(ruling=found, by=self.by)
        return found
