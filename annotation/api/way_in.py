"""The API of the way into a campaign, for the person who goes it: its steps, its practice tasks, and consent where it is sensitive."""

from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import NotFound

from accounts.api.base import Given, call
from accounts.tokens import Scope
from annotation import consent, guidelines, practice
from annotation.api.desk import AskedSerializer, ConfirmsSerializer, DeskApi, SaidSerializer, ShownSerializer
from annotation.keys_tasks import asks
from annotation.models import Campaign, Place, PracticeAnswer, PracticeItem
from annotation.views.access import campaign_of
from annotation.way_in import is_through, place_in, practice_page, way_in_page
from core.errors import Conflict, DomainError

Use = PracticeItem.Use


class WaySerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    text = serializers.CharField()
    state = serializers.ChoiceField(choices=["done", "now", "ahead"])


class WayInSerializer(serializers.Serializer[Any]):
    """Where a person stands: what is behind them, and what comes now."""

    steps = WaySerializer(many=True)
    action = serializers.ChoiceField(
        choices=["begin", "go_on", "try_again", "work", ""],
        help_text="what ``begin`` does; work: nothing stands before the first task; empty: nothing can be done",
    )
    heading = serializers.CharField()
    text = serializers.CharField(allow_blank=True)
    may_practise = serializers.BooleanField(help_text="``practise-again`` leads back to practice")
    needs_confirmation = serializers.BooleanField(help_text="the guidelines are to be confirmed first")
    guidelines_version = serializers.IntegerField(source="campaign.guidelines_version")
    is_sensitive = serializers.BooleanField(source="campaign.is_sensitive")
    support_text = serializers.CharField(source="campaign.support_text", allow_blank=True, help_text="Markdown")
    agreed_at = serializers.DateTimeField(
        allow_null=True, help_text="when one agreed to see what a sensitive campaign shows"
    )


class PractisedSerializer(serializers.Serializer[Any]):
    """One task of the way in, with the answers as this person sees them; once it is answered, with what is right."""

    key = serializers.CharField()
    use = serializers.ChoiceField(choices=Use.choices)
    number = serializers.IntegerField(help_text="in its round, from 1")
    n_items = serializers.IntegerField()
    campaign = AskedSerializer()
    messages = serializers.JSONField(source="turns", help_text="the prompt, as role and content")
    answers = ShownSerializer(many=True)
    lesson = serializers.CharField(allow_blank=True, help_text="what a task about the keys teaches")
    is_right = serializers.BooleanField(allow_null=True, help_text="null: not answered yet")
    accepted = serializers.CharField(allow_blank=True)
    reason = serializers.CharField(allow_blank=True, help_text="Markdown")


class PracticeStepSerializer(serializers.Serializer[Any]):
    """``answered``: the practice task just answered, with its reason. ``item``: what comes now; null: see the way in."""

    answered = PractisedSerializer(allow_null=True)
    item = PractisedSerializer(allow_null=True)


class AgreesSerializer(serializers.Serializer[Any]):
    agreed_at = serializers.DateTimeField(source="agreed_sensitive_at", allow_null=True)


class _WayIn(DeskApi):
    def campaign(self, key: str) -> Campaign:
        return campaign_of(self.request._request, self.project, key)

    def place(self, key: str) -> Place:
        campaign, me = self.campaign(key), self.me
        place = place_in(me, campaign)
        if place is None:
            raise NotFound("You have not begun the way into this campaign.")
        return place

    def shown(self, row: PracticeAnswer) -> Any:
        return vars(practice_page(self.request._request, self.project, row)) | {"use": row.item.use}

    def now(self, row: PracticeAnswer | None, answered: PracticeAnswer | None = None) -> Any:
        return {
            "answered": self.shown(answered) if answered is not None else None,
            "item": self.shown(row) if row is not None else None,
        }


class WayIn(_WayIn):
    @call(Scope.ANNOTATE, tells=WayInSerializer)
    def get(self, given: Given, key: str) -> Any:
        """What is behind one and what comes now."""
        campaign, me = self.campaign(key), self.me
        page = way_in_page(self.request._request, self.project, me, campaign)
        place = place_in(me, campaign)
        return vars(page) | {"agreed_at": place.agreed_sensitive_at if place else None}


class BeginWayIn(_WayIn):
    @call(Scope.ANNOTATE, asks=ConfirmsSerializer, tells=PracticeStepSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Go on with the way in: the task at hand, or the first one of a new round. ``confirms``: as for the next task."""
        campaign = self.campaign(key)
        if is_through(place_in(self.me, campaign), self.me, campaign):
            return self.now(None)
        me = self.made
        if "confirms" in given:
            guidelines.confirm(me, campaign, given["confirms"])
        if guidelines.needs_confirmation(place_in(me, campaign), campaign):
            raise Conflict("The guidelines are to be read first.", how="Send the version that was read as “confirms”.")
        return self.now(practice.begin(practice.place_of(me, campaign)))


class PractiseAgain(_WayIn):
    @call(Scope.ANNOTATE, tells=PracticeStepSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Back to practice between two tries of the qualification."""
        place = self.place(key)
        practice.practise_again(place)
        return self.now(practice.begin(place))


class AnswerPractice(_WayIn):
    @call(Scope.ANNOTATE, asks=SaidSerializer, tells=PracticeStepSerializer)
    def post(self, given: Given, key: str, item: str) -> Any:
        """Answer the practice task at hand. Sent again, it is answered with what stands."""
        place = self.place(key)
        rows = PracticeAnswer.objects.filter(place=place).select_related("item", "place__campaign")
        row = self.found(rows.order_by("-attempt"), item__key=item)
        said = self.read_said(given, asks(row.place.campaign, row.item), row.display_order)
        row = practice.answer(place, item_key=item, said=said)
        row.place = place
        if row.answered_at is None:
            raise DomainError("This is not the answer that the lesson asks for.", how="Read it, and try again.")
        return self.now(practice.open_answers(place).first(), row if row.item.use == Use.PRACTICE else None)


class Agree(_WayIn):
    @call(Scope.ANNOTATE, tells=AgreesSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Agree to see what a sensitive campaign shows. The first moment stays on record."""
        return consent.agree(self.made, self.campaign(key))


class TakeBackConsent(_WayIn):
    @call(Scope.ANNOTATE)
    def post(self, given: Given, key: str) -> None:
        """Agree no longer: what one has open goes back at once, what one judged stands."""
        consent.take_back(self.made, self.campaign(key))
