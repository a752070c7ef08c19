"""What a request says of a campaign: every option of ``annotation.campaign_options``, typed. The rules are in the services."""

from typing import Any

from rest_framework import serializers

from accounts.api.base import InProject
from annotation.campaign_options import (
    MAX_CAP,
    MAX_LEASE_MINUTES,
    MAX_MARKDOWN,
    MAX_OVERLAP,
    MAX_QUESTION,
    MAX_STRENGTH,
)
from annotation.models import Campaign
from annotation.pairs import KINDS, REASONS
from annotation.protocol import MAX_ANSWERS, MAX_COMMENT, MAX_CRITERIA, MAX_LEVELS, MAX_REASONS, SHOWN
from core.api import StrictSerializer


def _names(most: int, **more: Any) -> Any:
    return serializers.ListField(child=serializers.CharField(max_length=200), max_length=most, **more)


class CriterionSerializer(StrictSerializer):
    name = serializers.RegexField(r"^[a-z][a-z0-9_]{0,39}$")
    label = serializers.CharField(max_length=200)  # type: ignore[assignment]  # a field of ours, not the argument of the same name
    kind = serializers.ChoiceField(choices=["rate", "compare"], required=False)
    levels = serializers.IntegerField(min_value=1, max_value=MAX_LEVELS, required=False)
    low = serializers.CharField(max_length=200, allow_blank=True, required=False)
    high = serializers.CharField(max_length=200, allow_blank=True, required=False)
    allow_tie = serializers.BooleanField(required=False)
    is_higher_better = serializers.BooleanField(required=False)
    is_required = serializers.BooleanField(required=False)


class ProtocolSerializer(StrictSerializer):
    """What is asked beyond the choice."""

    criteria = serializers.ListField(child=CriterionSerializer(), required=False, max_length=MAX_CRITERIA)
    reasons = _names(MAX_REASONS, required=False)
    needs_reason = serializers.BooleanField(required=False)
    comment = serializers.ChoiceField(choices=["off", "optional", "required"], required=False)
    min_comment = serializers.IntegerField(min_value=0, max_value=MAX_COMMENT, required=False)
    write_in = serializers.ChoiceField(choices=["off", "optional"], required=False)
    has_flags = serializers.BooleanField(required=False)
    show = serializers.ListField(child=serializers.ChoiceField(choices=SHOWN), required=False)
    has_diff = serializers.BooleanField(required=False)
    allow_rank_ties = serializers.BooleanField(required=False)


class AudienceSerializer(StrictSerializer):
    """Who may judge; empty lists mean everybody."""

    groups = _names(50, required=False)
    languages = _names(50, required=False)
    people = _names(1000, required=False, help_text="keys of members")


class OnboardingSerializer(StrictSerializer):
    """The way in of a new person; {} for none."""

    keys = serializers.BooleanField(required=False)
    n_practice = serializers.IntegerField(min_value=0, max_value=1000, required=False)
    n_qualification = serializers.IntegerField(min_value=0, max_value=1000, required=False)
    pass_mark = serializers.FloatField(min_value=0.01, max_value=1, required=False)
    tries = serializers.IntegerField(min_value=1, max_value=1000, required=False)
    probation = serializers.IntegerField(min_value=0, max_value=100_000, required=False)


class ChangesSerializer(StrictSerializer):
    """What may change after the start; what is left out stays as it is."""

    name = serializers.CharField(max_length=100, required=False)
    question = serializers.CharField(max_length=MAX_QUESTION, required=False)
    guidelines = serializers.CharField(max_length=MAX_MARKDOWN, allow_blank=True, required=False, help_text="Markdown")
    protocol = ProtocolSerializer(required=False)
    allow_tie = serializers.BooleanField(required=False)
    allow_both_good = serializers.BooleanField(required=False)
    allow_both_bad = serializers.BooleanField(required=False)
    strength_levels = serializers.IntegerField(min_value=0, max_value=MAX_STRENGTH, required=False)
    lease_minutes = serializers.IntegerField(min_value=1, max_value=MAX_LEASE_MINUTES, required=False)
    closes_at = serializers.DateTimeField(allow_null=True, required=False)
    cap_per_person = serializers.IntegerField(min_value=1, max_value=MAX_CAP, allow_null=True, required=False)
    cap_per_day = serializers.IntegerField(min_value=1, max_value=MAX_CAP, allow_null=True, required=False)
    audience = AudienceSerializer(required=False)
    pay_per_hour = serializers.FloatField(min_value=0, max_value=100_000, allow_null=True, required=False)
    is_sensitive = serializers.BooleanField(required=False)
    support_text = serializers.CharField(max_length=MAX_MARKDOWN, allow_blank=True, required=False)
    onboarding = OnboardingSerializer(required=False)


class CampaignChangesSerializer(ChangesSerializer):
    overlap = serializers.IntegerField(min_value=1, max_value=MAX_OVERLAP, required=False, help_text="can be raised")
    guidelines_note = serializers.CharField(
        max_length=300, allow_blank=True, default="", help_text="what changed in the guidelines, in a sentence"
    )


class OptionsSerializer(ChangesSerializer):
    """Everything besides the answers; what is left out has the page's default."""

    regression_share = serializers.FloatField(min_value=0, max_value=1, required=False)
    chosen_is_worse = serializers.BooleanField(required=False)

    def get_fields(self) -> dict[str, Any]:
        return {name: field for name, field in super().get_fields().items() if name != "name"}


class PairingSerializer(StrictSerializer):
    """How answers meet; see docs/how-to/plan-a-campaign.md."""

    pairs = serializers.ChoiceField(choices=list(KINDS), default="within")
    baseline = InProject(
        lambda project: project.model_versions.all(), required=False, help_text="a model, for ``baseline``"
    )
    per_prompt = serializers.IntegerField(min_value=1, max_value=1_000_000, allow_null=True, required=False)
    max_tasks = serializers.IntegerField(min_value=1, max_value=10_000_000, allow_null=True, required=False)
    n_answers = serializers.IntegerField(min_value=2, max_value=MAX_ANSWERS, required=False)
    leave_out = serializers.ListField(child=serializers.ChoiceField(choices=list(REASONS)), required=False)
    near = serializers.FloatField(min_value=0, max_value=1, required=False)
    new = InProject(lambda project: project.model_versions.all(), required=False)
    old = InProject(lambda project: project.model_versions.all(), required=False)


class PlanSerializer(StrictSerializer):
    """Whose answers are judged, and how they meet."""

    jobs = serializers.ListField(
        child=InProject(lambda project: project.generation_jobs.all()), allow_empty=False, max_length=100
    )
    kind = serializers.ChoiceField(choices=Campaign.Kind.choices, default=Campaign.Kind.PAIR)
    pairing = PairingSerializer(default=dict)
    overlap = serializers.IntegerField(min_value=1, max_value=MAX_OVERLAP, default=1)
    options = OptionsSerializer(default=dict)


class NewCampaignSerializer(PlanSerializer):
    name = serializers.CharField(max_length=100)


def pairing_of(given: dict[str, Any]) -> dict[str, Any]:
    """As ``annotation.pairs.Pairing.parse`` reads it: models by their keys."""
    return {name: getattr(value, "key", value) for name, value in given.items()}
