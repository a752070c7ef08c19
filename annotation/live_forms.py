"""The form of a live campaign: two arms, and then what every campaign asks. The rules are in ``annotation.live_campaigns``."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.http import QueryDict

from accounts.models import Project
from annotation.campaign_form_parts import AskedForm
from annotation.campaign_forms import CampaignForm
from annotation.live_campaigns import MAX_SYSTEM, MAX_TURNS
from annotation.models import Campaign
from generation.engines.base import Sampling
from generation.models import Deployment


def deployments_of(project: Project) -> QuerySet[Deployment]:
    """What can be asked now, the latest first."""
    live = project.deployments.filter(stage=Deployment.Stage.LIVE, endpoint__is_enabled=True)
    return live.select_related("model_version", "endpoint").order_by("-live_at", "-pk")


class DeploymentField(forms.ModelChoiceField):
    def label_from_instance(self, deployment: Deployment) -> str:
        return f"{deployment.model_version} ({deployment.alias}, on {deployment.endpoint})"


class ArmsForm(forms.Form):
    """Who answers, and how many turns there are to be."""

    first = DeploymentField(
        queryset=Deployment.objects.none(), to_field_name="key", empty_label=None, label="One model"
    )
    first_temperature = forms.FloatField(label="Temperature", min_value=0, max_value=5, initial=0.7)
    second = DeploymentField(
        queryset=Deployment.objects.none(), to_field_name="key", empty_label=None, label="The other model"
    )
    second_temperature = forms.FloatField(label="Its temperature", min_value=0, max_value=5, initial=1.0)
    max_tokens = forms.IntegerField(label="Longest answer (tokens)", min_value=1, max_value=1_000_000)
    top_p = forms.FloatField(label="Top p", min_value=0, max_value=1, initial=1.0)
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

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        deployments = deployments_of(project)
        latest = deployments.first()
        context = latest.endpoint.max_model_length if latest else None
        plain = Sampling().max_tokens
        key = latest.key if latest else None
        initial = {"first": key, "second": key, "max_tokens": min(plain, context // 4) if context else plain}
        kwargs["initial"] = initial | (kwargs.get("initial") or {})
        super().__init__(*args, **kwargs)
        for name in ("first", "second"):
            self.fields[name].queryset = deployments  # type: ignore[attr-defined]

    def arms(self) -> list[dict[str, Any]]:
        given = self.cleaned_data
        shared = {"top_p": given["top_p"], "max_tokens": given["max_tokens"]}
        return [
            {"deployment": given[arm], "sampling": {**shared, "temperature": given[f"{arm}_temperature"]}}
            for arm in ("first", "second")
        ]


class LiveCampaignForm(CampaignForm):
    """The whole form: the parts of every campaign of pairs, without those about answers that are there already."""

    def __init__(
        self,
        data: QueryDict | None = None,
        *,
        project: Project,
        initial: Mapping[str, Any] | None = None,
        draft: bool = False,
    ) -> None:
        super().__init__(data, project=project, initial=initial, draft=draft, kind=Campaign.Kind.PAIR)
        bound = None if draft else data
        typed = {name: data[name] for name in ArmsForm.base_fields if name in data} if draft and data else {}
        self.arms = ArmsForm(bound, project=project, initial=typed)
        # Fixed once a campaign has started, so the base leaves it out; this one begins.
        self.asked.fields["chosen_is_worse"] = deepcopy(AskedForm.base_fields["chosen_is_worse"])
        if draft and data is not None:
            self.asked.initial["chosen_is_worse"] = "chosen_is_worse" in data

    @property
    def parts(self) -> list[forms.Form]:
        return [self.arms, *super().parts]

    def campaign(self) -> dict[str, Any]:
        """Arguments for ``start_live_campaign``."""
        given = self.arms.cleaned_data
        return {
            "name": self.work.cleaned_data["name"],
            "arms": self.arms.arms(),
            "n_turns": given["n_turns"],
            "system": given["system"],
            "options": {**self.asked_options(), **self.work.options(), "template": self.template},
        }
