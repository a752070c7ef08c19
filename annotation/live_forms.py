"""The form of a live campaign. What it checks is shape; the rules are in ``annotation.live_campaigns``."""

from typing import Any

from django import forms
from django.db.models import QuerySet
from django.utils import timezone

from accounts.models import Project
from annotation.campaign_options import MAX_LEASE_MINUTES, MAX_MARKDOWN
from annotation.live_campaigns import MAX_SYSTEM, MAX_TURNS
from generation.engines.base import Sampling
from generation.models import Deployment


def deployments_of(project: Project) -> QuerySet[Deployment]:
    """What can be asked now, the latest first."""
    live = project.deployments.filter(stage=Deployment.Stage.LIVE, endpoint__is_enabled=True)
    return live.select_related("model_version", "endpoint").order_by("-live_at", "-pk")


class DeploymentField(forms.ModelChoiceField):
    def label_from_instance(self, deployment: Deployment) -> str:
        return f"{deployment.model_version} ({deployment.alias}, on {deployment.endpoint})"


class LiveCampaignForm(forms.Form):
    """Two arms, what is asked of each turn, and how many turns there are to be."""

    name = forms.CharField(max_length=100)
    first = DeploymentField(
        queryset=Deployment.objects.none(), to_field_name="key", empty_label=None, label="One model"
    )
    first_temperature = forms.FloatField(label="Temperature", min_value=0, max_value=5, initial=0.7)
    second = DeploymentField(
        queryset=Deployment.objects.none(), to_field_name="key", empty_label=None, label="The other model"
    )
    second_temperature = forms.FloatField(label="Temperature", min_value=0, max_value=5, initial=1.0)
    top_p = forms.FloatField(label="Top p", min_value=0, max_value=1, initial=1.0)
    max_tokens = forms.IntegerField(label="Longest answer (tokens)", min_value=1, max_value=1_000_000, initial=256)
    system = forms.CharField(
        label="System message",
        required=False,
        max_length=MAX_SYSTEM,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Begins every conversation. Annotators see it above the chat.",
    )
    n_turns = forms.IntegerField(
        label="Turns to collect",
        min_value=1,
        max_value=MAX_TURNS,
        initial=500,
        help_text="Each turn is one judgement. After that no further prompt is taken.",
    )
    question = forms.CharField(max_length=300, initial="Which answer is better?")
    guidelines = forms.CharField(
        required=False,
        max_length=MAX_MARKDOWN,
        widget=forms.Textarea(attrs={"rows": 10}),
        help_text="Markdown. Say what people should write about, too: it stands beside every turn.",
    )
    allow_tie = forms.BooleanField(required=False, initial=True, label="Offer “Tie”")
    allow_both_bad = forms.BooleanField(required=False, initial=True, label="Offer “Both bad”")
    lease_minutes = forms.IntegerField(
        min_value=1, max_value=MAX_LEASE_MINUTES, initial=30, label="Minutes a turn is kept for its author"
    )
    closes_at = forms.DateTimeField(
        required=False,
        label="Closes at",
        help_text="Empty: when you close it.",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )

    OPTIONS = ("question", "guidelines", "allow_tie", "allow_both_bad", "lease_minutes", "closes_at")

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        deployments = deployments_of(project)
        latest = deployments.first()
        context = latest.endpoint.max_model_length if latest else None
        plain = Sampling().max_tokens
        initial = {"first": latest, "second": latest, "max_tokens": min(plain, context // 4) if context else plain}
        kwargs["initial"] = initial | (kwargs.get("initial") or {})
        super().__init__(*args, **kwargs)
        for name in ("first", "second"):
            self.fields[name].queryset = deployments  # type: ignore[attr-defined]

    def clean_closes_at(self) -> Any:
        closes_at = self.cleaned_data["closes_at"]
        if closes_at is not None and closes_at <= timezone.now():
            raise forms.ValidationError("This time has passed.")
        return closes_at

    def arms(self) -> list[dict[str, Any]]:
        given = self.cleaned_data
        shared = {"top_p": given["top_p"], "max_tokens": given["max_tokens"]}
        return [
            {"deployment": given[arm], "sampling": {**shared, "temperature": given[f"{arm}_temperature"]}}
            for arm in ("first", "second")
        ]

    def campaign(self) -> dict[str, Any]:
        """Arguments for ``start_live_campaign``."""
        given = self.cleaned_data
        return {
            "name": given["name"],
            "arms": self.arms(),
            "n_turns": given["n_turns"],
            "system": given["system"],
            "options": {name: given[name] for name in self.OPTIONS},
        }
