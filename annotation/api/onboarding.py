"""The API of a campaign's way in for those who lead: its practice items, and where each person stands. Nothing names a model."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.api.base import Given, ProjectApi, call
from accounts.tokens import Scope
from annotation.models import Campaign, Place, PracticeItem
from annotation.onboarding_lead import ACTIONS, decide, people_of, readiness_of
from annotation.practice_items import (
    MAX_ACCEPTED,
    MAX_LINES,
    MAX_TEXT,
    MAX_TURNS,
    ROLES,
    accepted_text,
    add_items,
    change_item,
    read_item,
    set_active,
)
from annotation.protocol import MAX_ANSWERS
from core.api import StrictSerializer
from core.errors import DomainError

WRITTEN = [PracticeItem.Use.PRACTICE, PracticeItem.Use.QUALIFICATION]


class PracticeItemSerializer(serializers.ModelSerializer[PracticeItem]):
    accepted = serializers.SerializerMethodField(help_text="what is right, by the letters of ``answers``")

    class Meta:
        model = PracticeItem
        fields = ("key", "use", "position", "messages", "answers", "accepted", "reason", "is_active", "created_at")

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_accepted(self, item: PracticeItem) -> list[str]:
        return [accepted_text(each) for each in item.expected]


class ItemMessageSerializer(StrictSerializer):
    role = serializers.ChoiceField(choices=ROLES)
    content = serializers.CharField(max_length=MAX_TEXT, trim_whitespace=False)


class NewItemSerializer(StrictSerializer):
    """A comparison with a known answer; see docs/how-to/qualify-annotators.md."""

    use = serializers.ChoiceField(choices=WRITTEN, default=PracticeItem.Use.PRACTICE)
    prompt = serializers.CharField(required=False, max_length=MAX_TEXT, help_text="of one turn, or ``messages``")
    messages = serializers.ListField(child=ItemMessageSerializer(), required=False, max_length=MAX_TURNS)
    answers = serializers.ListField(
        child=serializers.CharField(max_length=MAX_TEXT, allow_blank=True, trim_whitespace=False),
        min_length=2,
        max_length=MAX_ANSWERS,
    )
    accepted = serializers.ListField(
        child=serializers.CharField(max_length=1000),
        allow_empty=False,
        max_length=MAX_ACCEPTED,
        help_text="pair: a, b2, tie; rank: B > A = C; rate: helpful: A 4-5, B 1",
    )
    reason = serializers.CharField(default="", allow_blank=True, max_length=MAX_TEXT, help_text="Markdown")


class NewItemsSerializer(StrictSerializer):
    items = serializers.ListField(child=NewItemSerializer(), allow_empty=False, max_length=MAX_LINES)


class ItemsSerializer(serializers.Serializer[Any]):
    """The items, and whether they carry what the campaign asks."""

    items = PracticeItemSerializer(many=True)
    stops = serializers.ListField(child=serializers.CharField(), help_text="why nobody can qualify yet")
    warns = serializers.ListField(child=serializers.CharField())


class TrySerializer(serializers.Serializer[Any]):
    attempt = serializers.IntegerField()
    n_right = serializers.IntegerField()
    n_items = serializers.IntegerField()
    is_passed = serializers.BooleanField()


class PlaceSerializer(serializers.Serializer[Any]):
    """Where one person stands in a campaign."""

    pseudonym = serializers.CharField(source="place.annotator.pseudonym")
    name = serializers.CharField(allow_blank=True, help_text="for admins; empty for everybody else")
    stage = serializers.CharField(source="place.stage")
    is_off = serializers.SerializerMethodField(help_text="was taken off the campaign")
    n_submitted = serializers.IntegerField(source="place.n_submitted")
    n_practised = serializers.IntegerField()
    is_in_try = serializers.BooleanField()
    tries = TrySerializer(source="results", many=True)
    actions = serializers.SerializerMethodField(help_text="what can be decided now")

    def get_is_off(self, row: Any) -> bool:
        return row.place.blocked_at is not None

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_actions(self, row: Any) -> list[str]:
        return [action for action, _ in row.actions]


class PeopleSerializer(serializers.Serializer[Any]):
    people = PlaceSerializer(many=True)


class DecideSerializer(StrictSerializer):
    person = serializers.CharField(max_length=100, help_text="pseudonym")
    decision = serializers.ChoiceField(
        choices=list(ACTIONS), help_text="; ".join(f"{name}: {words.lower()}" for name, words in ACTIONS.items())
    )


class _Onboarding(ProjectApi):
    def campaign(self, key: str) -> Campaign:
        found: Campaign = self.found(Campaign.objects.filter(project=self.project), key=key)
        return found

    def items_of(self, campaign: Campaign) -> QuerySet[PracticeItem]:
        return campaign.practice_items.filter(use__in=WRITTEN).select_related("campaign__project")

    def people(self, campaign: Campaign) -> Any:
        return {"people": people_of(campaign, with_names=self.membership.is_admin)}


class PracticeItems(_Onboarding):
    @call(Scope.REVIEW, tells=ItemsSerializer)
    def get(self, given: Given, key: str) -> Any:
        """The practice items of a campaign, those taken out too."""
        return self.told(self.campaign(key))

    @call(Scope.REVIEW, asks=NewItemsSerializer, tells=ItemsSerializer, status=201, once=True)
    def post(self, given: Given, key: str) -> Any:
        """Add practice items, all of them or none."""
        campaign, read = self.campaign(key), []
        for number, item in enumerate(given["items"]):
            try:
                read.append(read_item(campaign, item))
            except DomainError as problem:
                raise DomainError(f"items.{number}: {problem.sentence}", how=problem.how) from None
        add_items(campaign, read, by=self.by)
        return self.told(campaign)

    def told(self, campaign: Campaign) -> Any:
        ready = readiness_of(campaign)
        items = self.items_of(campaign).order_by("use", "-is_active", "position", "id")
        return {"items": items, "stops": ready.stops, "warns": ready.warns}


class OnePracticeItem(_Onboarding):
    @call(Scope.REVIEW, tells=PracticeItemSerializer)
    def get(self, given: Given, key: str, item: str) -> Any:
        """One practice item with what is right."""
        return self.found(self.items_of(self.campaign(key)), key=item)

    @call(Scope.REVIEW, asks=NewItemSerializer, tells=PracticeItemSerializer)
    def put(self, given: Given, key: str, item: str) -> Any:
        """Write an item anew. One that somebody has answered is taken out, and the new one has a key of its own."""
        campaign = self.campaign(key)
        found = self.found(self.items_of(campaign), key=item)
        self.check_unchanged(PracticeItemSerializer, found)
        return self.found(self.items_of(campaign), pk=change_item(found, read_item(campaign, given), by=self.by).pk)


class RetirePracticeItem(_Onboarding):
    @call(Scope.REVIEW, tells=PracticeItemSerializer)
    def post(self, given: Given, key: str, item: str) -> Any:
        """Take an item out. What was answered stays."""
        return self.switched(key, item, active=False)

    def switched(self, key: str, item: str, *, active: bool) -> PracticeItem:
        rows = self.items_of(self.campaign(key))
        set_active(self.found(rows, key=item), active=active, by=self.by)
        found: PracticeItem = self.found(rows, key=item)
        return found


class RestorePracticeItem(RetirePracticeItem):
    @call(Scope.REVIEW, tells=PracticeItemSerializer)
    def post(self, given: Given, key: str, item: str) -> Any:
        """Put an item in again."""
        return self.switched(key, item, active=True)


class CampaignPeople(_Onboarding):
    @call(Scope.REVIEW, tells=PeopleSerializer)
    def get(self, given: Given, key: str) -> Any:
        """Everybody with a place in the campaign, those who are stuck first."""
        return self.people(self.campaign(key))


class DecidePerson(_Onboarding):
    @call(Scope.REVIEW, asks=DecideSerializer, tells=PeopleSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Give another try, let in, ask for proof again, take off the campaign or put back on."""
        campaign = self.campaign(key)
        places = Place.objects.filter(campaign=campaign)
        decide(self.found(places, annotator__pseudonym=given["person"]), given["decision"], by=self.by)
        return self.people(campaign)
