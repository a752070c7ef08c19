"""The API of live conversations: a campaign in which people write the prompts, and one's own conversations in it.

The two answers of a turn are judged as any task is: by the key of its assignment, at ``desk/assignments``.
"""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.api.base import Given, InProject, ProjectApi, call, key_of
from accounts.tokens import Scope
from annotation import live as services
from annotation.api.campaign_fields import OptionsSerializer
from annotation.api.campaigns import CampaignSerializer
from annotation.api.desk import DeskApi, ShownSerializer
from annotation.live_campaigns import MAX_SYSTEM, MAX_TURNS, start_live_campaign
from annotation.live_pages import live_page
from annotation.live_standing import assignment_of_turn, conversations_of, turns_of
from annotation.models import Campaign, Conversation
from annotation.views.access import campaign_of
from core.api import StrictSerializer
from core.errors import require
from generation.api.jobs import SamplingSerializer

MAX_NUMBER = 1_000_000
STATES = ("write", "wait", "failed", "judge", "parked", "choose", "full", "first", "stopped", "over")


# ---- those who lead ----------------------------------------------------------------------------------------------------


class LiveArmSerializer(StrictSerializer):
    deployment = InProject(lambda project: project.deployments.select_related("model_version"))
    sampling = SamplingSerializer(default=dict)


class NewLiveCampaignSerializer(StrictSerializer):
    name = serializers.CharField(max_length=100)
    arms = serializers.ListField(child=LiveArmSerializer(), min_length=2, max_length=2)
    n_turns = serializers.IntegerField(
        min_value=1, max_value=MAX_TURNS, help_text="each turn is one judgement; after that no further prompt is taken"
    )
    system = serializers.CharField(
        default="", allow_blank=True, max_length=MAX_SYSTEM, help_text="begins every conversation"
    )
    options = OptionsSerializer(default=dict)


class LiveCampaigns(ProjectApi):
    @call(Scope.CAMPAIGN, asks=NewLiveCampaignSerializer, tells=CampaignSerializer, status=201, once=True)
    def post(self, given: Given) -> Any:
        """Open a campaign in which people write the prompts and two models answer at once."""
        campaign = start_live_campaign(project=self.project, by=self.by, **given)
        campaign.refresh_from_db()
        return campaign


# ---- at the desk -------------------------------------------------------------------------------------------------------


class ConversationSerializer(serializers.ModelSerializer[Conversation]):
    campaign = key_of()
    n_judged = serializers.IntegerField()

    class Meta:
        model = Conversation
        fields = ("key", "campaign", "status", "n_judged", "created_at", "finished_at")


class ChatMessageSerializer(serializers.Serializer[Any]):
    role = serializers.CharField()
    text = serializers.CharField(allow_blank=True)
    said = serializers.CharField(allow_blank=True, help_text="what one said of the answers that this was one of")


class ConversationStandsSerializer(serializers.Serializer[Any]):
    """A conversation as it stands. Nothing says which model wrote what, or which was done first."""

    key = serializers.CharField(source="conversation.key")
    campaign = serializers.CharField(source="campaign.key")
    status = serializers.ChoiceField(source="conversation.status", choices=Conversation.Status.choices)
    state = serializers.ChoiceField(choices=STATES, help_text="what comes now")
    number = serializers.IntegerField(help_text="of the turn that comes now, as the requests below name it")
    assignment = serializers.SerializerMethodField(
        help_text="the task to judge, or that waits for the lead; null: none"
    )
    messages = ChatMessageSerializer(source="chat", many=True)
    answers = ShownSerializer(many=True, help_text="to choose from, after a tie")
    can_again = serializers.BooleanField(help_text="two other answers can be asked for")
    is_slow = serializers.BooleanField()
    is_too_long = serializers.BooleanField(help_text="what was written does not fit into a model")
    sentence = serializers.CharField(source="error", allow_blank=True, help_text="why nothing can be written now")
    how = serializers.CharField(allow_blank=True)

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_assignment(self, page: Any) -> str | None:
        turns = turns_of(page.conversation) if page.state in ("judge", "parked") else []
        found = assignment_of_turn(turns[-1]) if turns else None
        return found.key if found else None


class TurnNumberSerializer(StrictSerializer):
    number = serializers.IntegerField(min_value=1, max_value=MAX_NUMBER, help_text="of the turn, as it was read")


class NewPromptSerializer(TurnNumberSerializer):
    text = serializers.CharField(max_length=services.MAX_PROMPT, trim_whitespace=False)


class PickSerializer(TurnNumberSerializer):
    letter = serializers.CharField(max_length=1)


class TakenBackSerializer(serializers.Serializer[Any]):
    text = serializers.CharField(allow_blank=True, help_text="what had been written; it is stored no more")


class _Live(DeskApi):
    def campaign(self, key: str) -> Campaign:
        campaign = campaign_of(self.request._request, self.project, key)
        require(campaign.is_live, "Nobody writes prompts in this campaign.", how="Ask for its next task.")
        return campaign

    def mine(self, key: str) -> dict[str, Any]:
        """One's own conversation, as the services take it; anybody else's looks like none."""
        talk = self.talk(key)
        return {"conversation_key": talk.key, "annotator": talk.annotator}

    def talk(self, key: str) -> Conversation:
        rows = Conversation.objects.select_related("campaign__project", "annotator__user")
        found: Conversation = self.found(rows.filter(campaign__project=self.project, annotator__user=self.by), key=key)
        campaign_of(self.request._request, self.project, found.campaign.key)
        return found

    def now(self, key: str) -> Any:
        return live_page(self.project, self.talk(key))


class Conversations(_Live):
    @call(Scope.ANNOTATE, lists=ConversationSerializer)
    def get(self, given: Given, key: str) -> Any:
        """One's own conversations in a live campaign, newest first."""
        campaign, me = self.campaign(key), self.me
        return conversations_of(me, campaign) if me else Conversation.objects.none()

    @call(Scope.ANNOTATE, tells=ConversationStandsSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Begin a conversation, or go on with the open one."""
        return self.now(services.start_conversation(campaign=self.campaign(key), annotator=self.made).key)


class OneConversation(_Live):
    @call(Scope.ANNOTATE, tells=ConversationStandsSerializer)
    def get(self, given: Given, key: str) -> Any:
        """A conversation of one's own as it stands. Ask again while ``state`` is wait."""
        return self.now(key)


class WritePrompt(_Live):
    @call(Scope.ANNOTATE, asks=NewPromptSerializer, tells=ConversationStandsSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Write the next prompt: two models are asked. The same text sent twice is one turn."""
        services.send_prompt(**self.mine(key), **given)
        return self.now(key)


class PickAnswer(_Live):
    @call(Scope.ANNOTATE, asks=PickSerializer, tells=ConversationStandsSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Say which answer goes on where the judgement does not: after a tie, both bad or a skip."""
        services.pick_answer(**self.mine(key), number=given["number"], letter=given["letter"].lower())
        return self.now(key)


class WriteAgain(_Live):
    @call(Scope.ANNOTATE, asks=TurnNumberSerializer, tells=ConversationStandsSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Ask for two other answers to the same prompt, once."""
        services.write_again(**self.mine(key), **given)
        return self.now(key)


class TryTurnAgain(_Live):
    @call(Scope.ANNOTATE, asks=TurnNumberSerializer, tells=ConversationStandsSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Ask again for answers that could not be written."""
        services.try_again(**self.mine(key), **given)
        return self.now(key)


class TakeBackPrompt(_Live):
    @call(Scope.ANNOTATE, asks=TurnNumberSerializer, tells=TakenBackSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Take a prompt back whose answers nobody has seen: nothing of the turn is left."""
        return {"text": services.take_back(**self.mine(key), **given)}


class EndConversation(_Live):
    @call(Scope.ANNOTATE, tells=ConversationStandsSerializer)
    def post(self, given: Given, key: str) -> Any:
        """End a conversation: what is judged stays, answers that are not judged are let go."""
        services.end_conversation(**self.mine(key))
        return self.now(key)
