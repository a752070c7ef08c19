"""Forms of the run and evaluation pages. What they check is shape; the rules are in the services."""

import json
from typing import Any

from django import forms

from accounts.models import Project
from generation.deploy import live_deployment
from generation.models import ModelVersion
from training.models import Evaluation
from training.run_start import plan_run
from training.specs import EFFORTS, METHODS, Lora, Method, Spec

SET = "set_"  # before the name of a setting, in the expert part of the run form


def _choice(label: str, *, required: bool = False) -> "forms.ModelChoiceField[Any]":
    """A choice among rows by their keys; the form fills in which rows."""
    return forms.ModelChoiceField(queryset=None, to_field_name="key", label=label, empty_label=None, required=required)


def default_base(project: Project) -> ModelVersion | None:
    """What a run starts from unless told otherwise: the version that is live, else the newest policy."""
    live = live_deployment(project)
    policies = project.model_versions.filter(purpose="policy").exclude(kind="outside").order_by("-id")
    return live.model_version if live else policies.first()


class RunForm(forms.Form):
    """Four questions; everything else is derived, and every derived setting may be set by hand."""

    method = forms.ChoiceField(label="Method", widget=forms.RadioSelect)
    snapshot = _choice("Data", required=True)
    base = _choice("Base", required=True)
    effort = forms.ChoiceField(
        label="Effort",
        choices=[
            ("smoke", "Smoke test – a few steps: does it run at all?"),
            ("small", "Small – at most 2,000 rows an epoch"),
            ("full", "Full – all rows"),
        ],
        widget=forms.RadioSelect,
    )

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.project = project
        trainable = project.model_versions.filter(purpose="policy").exclude(kind="outside").order_by("-id")
        methods = [(m.name, f"{m.label} – {m.summary} Columns: {m.uses_in_words}.") for m in METHODS.values()]
        self.fields["method"].choices = methods  # type: ignore[attr-defined]
        self.fields["snapshot"].queryset = project.snapshots.filter(status="succeeded").order_by("-id")  # type: ignore[attr-defined]
        self.fields["base"].queryset = trainable  # type: ignore[attr-defined]
        assert [value for value, _ in self.fields["effort"].choices] == list(EFFORTS)  # type: ignore[attr-defined]

    @property
    def overrides(self) -> dict[str, Any]:
        """The settings that were filled in by hand."""
        given = {
            name[len(SET) :]: value.strip()
            for name, value in self.data.items()
            if name.startswith(SET) and value.strip()
        }
        return {name: _read(value) for name, value in given.items()}

    def chosen(self) -> dict[str, Any]:
        """method, base, snapshot and effort as they stand, valid or by default; without what is missing."""
        values: dict[str, Any] = {}
        for name, field in self.fields.items():
            if self.is_bound and name in self.data:
                raw: Any = self.data[name]
            else:
                raw = self.initial.get(name)
            try:
                values[name] = field.clean(getattr(raw, "key", raw))
            except forms.ValidationError:
                continue
        if values.get("method") == "reward" and values.get("base"):
            values["base"] = values["base"].root  # rewards must not move with the policy that they judge
        return values

    def plan(self) -> Spec | None:
        """The spec that would be frozen; None while a question is open. Raises DomainError for what stands against it."""
        values = self.chosen()
        if set(values) != set(self.fields):
            return None
        return plan_run(project=self.project, overrides=self.overrides, **values)


def settings_of(method: Method) -> list[str]:
    """Names that an expert may set, in the order of the spec."""
    free = ["log_every", "evaluate_every", "save_every", "n_samples", "sample_tokens"]
    return [*method.settings.model_fields, "tuning", *Lora.model_fields, *free]


def _read(value: str) -> Any:
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


class EvaluationForm(forms.Form):
    """Who judges, what, and on which prompts. Which answers are needed depends on the judge."""

    judge = forms.ChoiceField(label="Judge", widget=forms.RadioSelect)
    model_version = _choice("Version")
    against = _choice("Against")
    prompt_set = _choice("Prompt set")
    reward_model = _choice("Reward model")
    snapshot = _choice("Dataset")
    n_prompts = forms.IntegerField(label="Prompts at most", min_value=1, max_value=5000, required=False)
    n_answers = forms.IntegerField(label="Answers a prompt, of each", min_value=1, max_value=16, required=False)

    NEEDS = {
        Evaluation.Judge.REWARD_ACCURACY: ("reward_model", "snapshot"),
        Evaluation.Judge.REWARD_MODEL: ("model_version", "against", "prompt_set", "reward_model"),
        Evaluation.Judge.SIMULATED: ("model_version", "against", "prompt_set"),
        Evaluation.Judge.PEOPLE: ("model_version", "against"),
    }

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        versions = project.model_versions.exclude(kind="outside").order_by("-id")
        judges = [
            choice for choice in Evaluation.Judge.choices if project.is_demo or choice[0] != Evaluation.Judge.SIMULATED
        ]
        self.fields["judge"].choices = judges  # type: ignore[attr-defined]
        for name in ("model_version", "against"):
            self.fields[name].queryset = versions.filter(purpose="policy")  # type: ignore[attr-defined]
        self.fields["reward_model"].queryset = versions.filter(purpose="reward")  # type: ignore[attr-defined]
        held_out = project.prompt_sets.filter(prompts__split="holdout").distinct()
        self.fields["prompt_set"].queryset = held_out.order_by("-id")  # type: ignore[attr-defined]
        self.fields["snapshot"].queryset = project.snapshots.filter(status="succeeded").order_by("-id")  # type: ignore[attr-defined]
        for name in self.NEEDS[Evaluation.Judge(self.judge_now)]:
            self.fields[name].required = True

    @property
    def judge_now(self) -> str:
        """The judge as it stands: chosen, by default, or the first there is."""
        offered = [value for value, _ in self.fields["judge"].choices]  # type: ignore[attr-defined]
        chosen = self.data.get("judge") or self.initial.get("judge")
        return str(chosen if chosen in offered else offered[0])

    def options(self) -> dict[str, Any]:
        """What ``start_evaluation`` takes."""
        values = self.cleaned_data
        needed = {name: values[name] for name in self.NEEDS[values["judge"]]}
        if "model_version" not in needed:
            needed["model_version"] = needed["reward_model"]
        counts = {name: values[name] for name in ("n_prompts", "n_answers") if values.get(name)}
        return {"judge": values["judge"], **needed, "options": counts if "prompt_set" in needed else {}}
