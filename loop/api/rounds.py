"""The API of rounds: start one, take its next step, see where each stage stands, give it up. Models stay behind the Reveal."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.api.base import Given, InProject, ProjectApi, call, key_of
from accounts.tokens import Scope
from core.api import StrictSerializer
from core.errors import Conflict
from loop.board import board_of, reveal
from loop.models import Round, RoundStep
from loop.rounds import Plan, abandon_round, start_round, take_step

READERS = (Scope.READ, Scope.ROUND)
MAX_NOTE = 2000
STAGES = [stage for stage in RoundStep.Stage.values if stage != RoundStep.Stage.PROMPTS]


class StepSerializer(serializers.ModelSerializer[RoundStep]):
    job = key_of(allow_null=True)
    campaign = key_of(allow_null=True)
    snapshot = key_of(allow_null=True)
    run = key_of(allow_null=True)
    evaluation = key_of(allow_null=True)
    deployment = key_of(allow_null=True)

    class Meta:
        model = RoundStep
        fields = (
            "stage",
            "attempt",
            "job",
            "campaign",
            "snapshot",
            "run",
            "evaluation",
            "deployment",
            "note",
            "created_at",
        )


ROUND = ("number", "status", "prompt_set", "plan", "created_at", "finished_at")


class RoundSerializer(serializers.ModelSerializer[Round]):
    prompt_set = key_of(allow_null=True)

    class Meta:
        model = Round
        fields = ROUND


class RoundWithStepsSerializer(serializers.ModelSerializer[Round]):
    """``policy_in`` and ``policy_out`` are null while the round's models are hidden."""

    prompt_set = key_of(allow_null=True)
    policy_in = serializers.SerializerMethodField()
    policy_out = serializers.SerializerMethodField()
    is_revealed = serializers.SerializerMethodField()
    stages = serializers.SerializerMethodField(help_text="each stage with its state, as on the board")
    next = serializers.SerializerMethodField(help_text="the stage whose step comes next; null: none now")
    waiting_for = serializers.SerializerMethodField()
    steps = serializers.SerializerMethodField()

    class Meta:
        model = Round
        fields = (
            *ROUND, "policy_in", "policy_out", "is_revealed", "stages", "next", "waiting_for", "steps",
        )  # fmt: skip

    def to_representation(self, round_: Round) -> Any:
        self.board = board_of(round_, user=self.context["request"].user, membership=self.context["membership"])
        return super().to_representation(round_)

    def get_policy_in(self, round_: Round) -> str | None:
        return round_.policy_in.key if self.board.is_revealed else None

    def get_policy_out(self, round_: Round) -> str | None:
        return round_.policy_out.key if self.board.is_revealed and round_.policy_out else None

    def get_is_revealed(self, round_: Round) -> bool:
        return self.board.is_revealed

    @extend_schema_field(serializers.DictField(child=serializers.CharField()))
    def get_stages(self, round_: Round) -> dict[str, str]:
        return {str(card.stage): card.state for card in self.board.cards}

    def get_next(self, round_: Round) -> str | None:
        return str(self.board.next_card.stage) if self.board.next_card else None

    def get_waiting_for(self, round_: Round) -> str:
        return self.board.waiting_for

    @extend_schema_field(StepSerializer(many=True))
    def get_steps(self, round_: Round) -> Any:
        rows = round_.steps.select_related("job", "campaign", "snapshot", "run", "evaluation", "deployment")
        return StepSerializer(rows.order_by("pk"), many=True).data


class PlanFieldsSerializer(StrictSerializer):
    """What is asked of a round; what is left out has the form's default."""

    n_prompts = serializers.IntegerField(min_value=1, max_value=1_000_000, required=False)
    n_answers = serializers.IntegerField(min_value=2, max_value=64, required=False)
    n_judgements = serializers.IntegerField(min_value=1, max_value=10_000_000, required=False)
    overlap = serializers.IntegerField(min_value=1, max_value=20, required=False)
    temperature = serializers.FloatField(min_value=0, max_value=2, required=False)
    max_tokens = serializers.IntegerField(min_value=1, max_value=8192, required=False)
    effort = serializers.ChoiceField(choices=["smoke", "small", "full"], required=False)
    with_reward = serializers.BooleanField(required=False)
    with_simulated = serializers.BooleanField(required=False)
    with_earlier_rounds = serializers.BooleanField(required=False)
    regression_share = serializers.FloatField(min_value=0, max_value=0.5, required=False)


class NewRoundSerializer(StrictSerializer):
    prompt_set = InProject(lambda project: project.prompt_sets.all())
    plan = PlanFieldsSerializer(default=dict)


class NewStepSerializer(StrictSerializer):
    stage = serializers.ChoiceField(choices=STAGES, required=False, help_text="without it: the next one of the board")
    note = serializers.CharField(default="", allow_blank=True, max_length=MAX_NOTE)


class AbandonSerializer(StrictSerializer):
    note = serializers.CharField(max_length=MAX_NOTE, help_text="why")


class _Rounds(ProjectApi):
    @property
    def rows(self) -> Any:
        return self.project.rounds.select_related("policy_in", "policy_out", "prompt_set", "project")

    def now(self, round_: Round) -> Any:
        return self.found(self.rows, pk=round_.pk)


class Rounds(_Rounds):
    @call(*READERS, lists=RoundSerializer)
    def get(self, given: Given) -> Any:
        """Rounds, newest first."""
        return self.page(RoundSerializer, self.rows)

    @call(Scope.ROUND, asks=NewRoundSerializer, tells=RoundWithStepsSerializer, status=201, once=True)
    def post(self, given: Given) -> Any:
        """Start the next round from the current policy."""
        made = start_round(project=self.project, prompt_set=given["prompt_set"], plan=Plan(**given["plan"]), by=self.by)
        return self.now(made)


class OneRound(_Rounds):
    @call(*READERS, tells=RoundWithStepsSerializer)
    def get(self, given: Given, number: int) -> Any:
        """Where a round stands, stage by stage."""
        return self.found(self.rows, number=number)


class NextStep(_Rounds):
    @call(Scope.ROUND, asks=NewStepSerializer, tells=RoundWithStepsSerializer, status=201, once=True)
    def post(self, given: Given, number: int) -> Any:
        """Take a step: the button of the round board. A deployment that no evaluation speaks for needs a note."""
        found = self.found(self.rows, number=number)
        stage = given.get("stage") or self._next(found)
        take_step(round_=found, stage=stage, by=self.by, note=given["note"])
        return self.now(found)

    def _next(self, found: Round) -> str:
        board = board_of(found, user=self.by, membership=self.membership)
        stage = str(board.next_card.stage) if board.next_card else ""
        if stage not in STAGES:
            raise Conflict("No step can be taken now.", how=board.waiting_for or "See where its stages stand.")
        return stage


class RevealRound(_Rounds):
    @call(Scope.ROUND, tells=RoundWithStepsSerializer)
    def post(self, given: Given, number: int) -> Any:
        """Ask which models write the round's answers. Recorded: what the token's owner judges of them is not blind."""
        found = self.found(self.rows, number=number)
        reveal(found, self.by)
        return self.now(found)


class AbandonRound(_Rounds):
    @call(Scope.ROUND, asks=AbandonSerializer, tells=RoundWithStepsSerializer)
    def post(self, given: Given, number: int) -> Any:
        """End a round without a new policy. What it made stays."""
        found = self.found(self.rows, number=number)
        abandon_round(round_=found, note=given["note"], by=self.by)
        return self.now(found)
