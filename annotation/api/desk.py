"""The API of an annotator's desk: the next task, and what is said about it. As blind as the page, and by the same write path.

A task is told by an assignment's random key, letters and texts; nothing that depends on a model, save the answers' texts.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.api.base import Given, ProjectApi, call
from accounts.tokens import Scope
from annotation import guidelines, questions
from annotation.assign import next_assignment, skip_assignment, why_nothing
from annotation.home import Mine, my_campaigns
from annotation.judge import correct_judgement, submit_judgement, undo_judgement
from annotation.leases import open_task
from annotation.models import Annotator, Assignment, Campaign, Place, Question
from annotation.pages import extras_of, texts_shown, turns_of
from annotation.people import annotator_for
from annotation.protocol import (
    FLAGS,
    LETTERS,
    MAX_COMMENT,
    MAX_FLAG_REASON,
    MAX_REASONS,
    MAX_SECONDS,
    MAX_WRITE_IN,
    Incomplete,
    Said,
)
from annotation.refusals import stands_before
from annotation.rows import said_of
from annotation.turns import assignment_of
from annotation.views.access import campaign_of, me_in, turn_of
from core.api import StrictSerializer
from core.errors import Conflict, DomainError

Status = Assignment.Status


class MyCampaignSerializer(serializers.Serializer[Mine]):
    key = serializers.CharField(source="campaign.key")
    name = serializers.CharField(source="campaign.name")
    kind = serializers.CharField(source="campaign.kind")
    stage = serializers.CharField(source="campaign.stage")
    my_stage = serializers.CharField(source="stage", help_text="where this person stands, or would begin")
    n_mine = serializers.IntegerField(help_text="judgements of this person that stand")
    n_left = serializers.IntegerField(help_text="tasks that this person may be given now")
    is_more = serializers.BooleanField(help_text="there are more than were counted")
    guidelines = serializers.CharField(source="campaign.guidelines", allow_blank=True, help_text="Markdown")
    guidelines_version = serializers.IntegerField(source="campaign.guidelines_version")
    asks_guidelines = serializers.BooleanField(help_text="this version is to be confirmed first: see ``next``")
    can_go_on = serializers.BooleanField()


class MyCampaignsSerializer(serializers.Serializer[Any]):
    campaigns = MyCampaignSerializer(many=True)


class ShownSerializer(serializers.Serializer[Any]):
    letter = serializers.CharField()
    text = serializers.CharField(allow_blank=True)


class AskedSerializer(serializers.ModelSerializer[Campaign]):
    """What is asked of a task: the columns, and the further questions as the campaign's protocol."""

    class Meta:
        model = Campaign
        fields = (
            "key", "kind", "question", "allow_tie", "allow_both_good", "allow_both_bad", "strength_levels", "protocol",
            "guidelines_version", "is_sensitive",
        )  # fmt: skip


class AssignmentSerializer(serializers.ModelSerializer[Assignment]):
    campaign = AskedSerializer(source="task.campaign")
    messages = serializers.SerializerMethodField(help_text="the prompt, as role and content")
    beside = serializers.SerializerMethodField(
        help_text="a note, a checklist, a reference answer, where the campaign shows it"
    )
    answers = serializers.SerializerMethodField(help_text="in the order shown to this person")
    said = serializers.SerializerMethodField(help_text="what stands, as the form's fields; null: nothing yet")

    class Meta:
        model = Assignment
        fields = ("key", "status", "leased_until", "campaign", "messages", "beside", "answers", "said")

    @extend_schema_field(serializers.JSONField())
    def get_messages(self, turn: Assignment) -> Any:
        return turns_of(turn.task.prompt)

    @extend_schema_field(serializers.JSONField())
    def get_beside(self, turn: Assignment) -> Any:
        found = extras_of(turn.task.campaign, turn.task.prompt)
        return [{"label": extra.label, "text": extra.text, "points": list(extra.points)} for extra in found]

    @extend_schema_field(ShownSerializer(many=True))
    def get_answers(self, turn: Assignment) -> Any:
        return [{"letter": LETTERS[place], "text": text} for place, text in enumerate(texts_shown(turn))]

    @extend_schema_field(
        serializers.DictField(child=serializers.ListField(child=serializers.CharField()), allow_null=True)
    )
    def get_said(self, turn: Assignment) -> Any:
        if turn.status != Status.SUBMITTED or turn.current is None:
            return None
        return said_of(turn.current).to_fields(campaign=turn.task.campaign, display_order=turn.display_order)


class RefusalSerializer(serializers.Serializer[Any]):
    code = serializers.CharField()
    sentence = serializers.CharField()
    how = serializers.CharField(allow_blank=True)


class NextSerializer(serializers.Serializer[Any]):
    """A task, or why there is none now."""

    assignment = AssignmentSerializer(allow_null=True)
    refusal = RefusalSerializer(allow_null=True)


class ConfirmsSerializer(StrictSerializer):
    confirms = serializers.IntegerField(
        required=False, min_value=1, max_value=2**31 - 1, help_text="the version of the guidelines that was read"
    )


class SaidSerializer(StrictSerializer):
    """What a person says about one task. Answers are named by the letters that the task shows."""

    choice = serializers.CharField(
        required=False,
        max_length=12,
        help_text="a · b · tie · both_good · both_bad; on a scale a1 ... b4; ranking: ranking",
    )
    ranking = serializers.DictField(
        child=serializers.IntegerField(min_value=1, max_value=9), required=False, help_text="letter -> place, 1 is best"
    )
    ratings = serializers.DictField(
        child=serializers.DictField(child=serializers.IntegerField(min_value=1, max_value=10)),
        required=False,
        help_text="criterion -> letter -> level",
    )
    comparisons = serializers.DictField(
        child=serializers.CharField(max_length=4), required=False, help_text="criterion -> a · b · tie, or a1 ... b4"
    )
    reasons = serializers.ListField(child=serializers.CharField(max_length=200), required=False, max_length=MAX_REASONS)
    comment = serializers.CharField(required=False, allow_blank=True, max_length=MAX_COMMENT)
    write_in = serializers.CharField(
        required=False, allow_blank=True, max_length=MAX_WRITE_IN, help_text="a better answer"
    )
    edited_from = serializers.CharField(
        required=False, allow_blank=True, max_length=1, help_text="the letter it began from"
    )
    flags = serializers.ListField(
        child=serializers.CharField(max_length=20),
        required=False,
        max_length=50,
        help_text=f"{', '.join(FLAGS)}; KIND:LETTER",
    )
    flag_reason = serializers.CharField(required=False, allow_blank=True, max_length=MAX_FLAG_REASON)
    active_seconds = serializers.FloatField(required=False, min_value=0, max_value=MAX_SECONDS)
    open_seconds = serializers.FloatField(required=False, min_value=0, max_value=MAX_SECONDS)


class CorrectionSerializer(SaidSerializer):
    instead_of = serializers.CharField(required=False, max_length=12, help_text="key of the judgement that was seen")


class SkipSerializer(StrictSerializer):
    reason = serializers.CharField(default="", allow_blank=True, max_length=200)


class AskSerializer(StrictSerializer):
    text = serializers.CharField(max_length=questions.MAX_CHARS)


class MyQuestionSerializer(serializers.ModelSerializer[Question]):
    class Meta:
        model = Question
        fields = ("key", "status", "text", "answer", "created_at", "answered_at")


def as_form(given: Given) -> dict[str, list[str]]:
    """The fields of the annotate form, which ``Said.from_fields`` reads."""
    renamed = {"reasons": "reason", "flags": "flag", "active_seconds": "active", "open_seconds": "open"}
    form: dict[str, list[str]] = {}
    for name, value in given.items():
        if name == "ranking":
            form |= {f"rank-{letter}": [str(place)] for letter, place in value.items()}
        elif name == "ratings":
            form |= {
                f"rate-{what}-{letter}": [str(n)] for what, levels in value.items() for letter, n in levels.items()
            }
        elif name == "comparisons":
            form |= {f"compare-{what}": [choice] for what, choice in value.items()}
        elif name != "instead_of":
            form[renamed.get(name, name)] = [str(each) for each in value] if isinstance(value, list) else [str(value)]
    return form


@contextmanager
def _fields_renamed() -> Iterator[None]:
    """Point at the fields of the request, not of the form."""
    starts = {"rank-": "ranking.", "rate-": "ratings.", "compare-": "comparisons."}
    whole = {"reason": "reasons", "flag": "flags"}
    try:
        yield
    except Incomplete as problem:
        named = []
        for name in problem.fields:
            start = next((start for start in starts if name.startswith(start)), "")
            named.append(starts[start] + name.removeprefix(start).replace("-", ".") if start else whole.get(name, name))
        raise Incomplete(problem.sentence, fields=named) from None


class DeskApi(ProjectApi):
    def turn(self, key: str) -> tuple[Annotator, Assignment]:
        return turn_of(self.request._request, self.project, key)

    @property
    def me(self) -> Annotator | None:
        """This person as an annotator, if they have ever judged here: reading creates nothing."""
        return me_in(self.request._request, self.project)

    @property
    def made(self) -> Annotator:
        return annotator_for(self.by, self.project)

    def said(self, turn: Assignment, given: Given) -> Said:
        return self.read_said(given, turn.task.campaign, turn.display_order)

    @staticmethod
    def read_said(given: Given, campaign: Campaign, display_order: Sequence[int]) -> Said:
        with _fields_renamed():
            return Said.from_fields(as_form(given), campaign=campaign, display_order=display_order)


class MyCampaigns(DeskApi):
    @call(Scope.ANNOTATE, tells=MyCampaignsSerializer)
    def get(self, given: Given) -> Any:
        """The campaigns that one may work in, open ones first."""
        return {"campaigns": my_campaigns(self.membership, self.me)}


class NextTask(DeskApi):
    @call(Scope.ANNOTATE, asks=ConfirmsSerializer, tells=NextSerializer)
    def post(self, given: Given, key: str) -> Any:
        """One's next task: the one in hand, else a lease on another. ``confirms``: the guidelines of that version are read."""
        campaign = campaign_of(self.request._request, self.project, key)
        if campaign.is_live:
            raise DomainError("Here people write the prompts.", how="Begin a conversation: POST .../conversations.")
        me = self.made
        if "confirms" in given:
            guidelines.confirm(me, campaign, given["confirms"])
        turn = next_assignment(me, campaign)
        if turn is None:
            campaign.refresh_from_db()
            return {"assignment": None, "refusal": why_nothing(me, campaign)}
        return {"assignment": turn, "refusal": None}


class OneAssignment(DeskApi):
    @call(Scope.ANNOTATE, tells=AssignmentSerializer)
    def get(self, given: Given, key: str) -> Any:
        """A task of one's own: in hand, or judged."""
        me, turn = self.turn(key)
        campaign = turn.task.campaign
        if turn.status == Status.SUBMITTED:
            return turn
        place = Place.objects.filter(annotator=me, campaign=campaign).first()
        if turn.status not in (Status.OPEN, Status.PARKED) or campaign.stage == Campaign.Stage.CLOSED:
            raise Conflict("This task is no longer yours.", how="Go on with the next one.")
        if (first := stands_before(place, campaign, me)) is not None:
            raise Conflict(first.sentence, how=first.how)
        return open_task(assignment_key=key, annotator=me) if turn.opened_at is None else turn


class Judge(DeskApi):
    @call(Scope.ANNOTATE, asks=SaidSerializer, tells=AssignmentSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Judge a task. Sent again, the same is answered with what stands; another judgement is a conflict."""
        me, turn = self.turn(key)
        submit_judgement(assignment_key=key, annotator=me, said=self.said(turn, given))
        return assignment_of(me, key)


class Correct(DeskApi):
    @call(Scope.ANNOTATE, asks=CorrectionSerializer, tells=AssignmentSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Say something else about a task that one has judged: a new row that supersedes."""
        me, turn = self.turn(key)
        said = self.said(turn, given)
        correct_judgement(assignment_key=key, annotator=me, said=said, instead_of=given.get("instead_of"))
        return assignment_of(me, key)


class Undo(DeskApi):
    @call(Scope.ANNOTATE, tells=AssignmentSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Take back one's judgement, or skip: the task is one's own to judge again."""
        me, _ = self.turn(key)
        undo_judgement(assignment_key=key, annotator=me)
        return assignment_of(me, key)


class Skip(DeskApi):
    @call(Scope.ANNOTATE, asks=SkipSerializer)
    def post(self, given: Given, key: str) -> None:
        """Pass on a task. Free of penalty; it is not offered again."""
        me, _ = self.turn(key)
        skip_assignment(assignment_key=key, annotator=me, reason=given["reason"])


class Ask(DeskApi):
    @call(Scope.ANNOTATE, asks=AskSerializer, tells=MyQuestionSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Ask the lead about a task: it is parked, its seat is kept, and one goes on with the next."""
        me, _ = self.turn(key)
        return questions.ask(assignment_key=key, annotator=me, text=given["text"])


class Resume(DeskApi):
    @call(Scope.ANNOTATE, tells=AssignmentSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Go on with a parked task: with its answer, or without one, which withdraws the question."""
        me, turn = self.turn(key)
        question = questions.questions_of(me).filter(assignment=turn).first()
        if question is None:
            raise Conflict("Nothing was asked about this task.")
        questions.take_back_up(question=question, annotator=me)
        return assignment_of(me, key)


class MyQuestions(DeskApi):
    @call(Scope.ANNOTATE, lists=MyQuestionSerializer)
    def get(self, given: Given) -> Any:
        """One's own questions with their answers, newest first."""
        return Question.objects.filter(assignment__annotator__user=self.by, campaign__project=self.project)
