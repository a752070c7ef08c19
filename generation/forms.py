"""Forms of the prompt, generation and model pages. They check shape; the rules are in the services."""

from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile

from accounts.models import Project
from core.errors import DomainError
from core.ids import new_key
from core.uploads import too_large
from generation.engines.base import Sampling
from generation.models import Deployment, PromptSet
from generation.sampling import MAX_ANSWERS_PER_PROMPT, MAX_ARMS, read_sampling

MAX_PASTED_CHARS = 2_000_000


class OnceForm(forms.Form):
    """A form that carries the key of what it makes, so that sending it twice makes one thing."""

    key = forms.RegexField(r"^[a-z2-9]{12}$", widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["initial"] = {"key": new_key(), **(kwargs.get("initial") or {})}
        super().__init__(*args, **kwargs)


class ImportForm(OnceForm):
    """A file or pasted lines, into a new set (which needs a name) or an existing one."""

    name = forms.CharField(label="Name of the set", max_length=100)
    file = forms.FileField(
        label="File",
        required=False,
        help_text="JSONL, CSV, Parquet or text with one prompt a line; the content decides.",
        widget=forms.ClearableFileInput(
            attrs={"accept": ".jsonl,.ndjson,.csv,.tsv,.parquet,.txt,.json,text/plain,text/csv"}
        ),
    )
    pasted = forms.CharField(
        label="Or paste prompts",
        required=False,
        strip=False,
        max_length=MAX_PASTED_CHARS,
        help_text="One prompt on each line.",
        widget=forms.Textarea(attrs={"rows": 6, "spellcheck": "false"}),
    )
    skip_bad_rows = forms.BooleanField(
        label="Skip rows that cannot be used",
        required=False,
        help_text="Otherwise one bad row means that nothing is imported. Either way each is listed with its reason.",
    )
    allow_secrets = forms.BooleanField(
        label="Let rows in that hold what looks like a secret",
        required=False,
        help_text="Otherwise rows with a key, a token or a card number are quarantined. Only an admin may.",
    )
    is_holdout_only = forms.BooleanField(
        label="For holdout only",
        required=False,
        help_text="No prompt of this set ever trains a model; for benchmarks such as MT-Bench.",
    )
    source = forms.CharField(label="Where they come from", required=False, max_length=200)
    licence = forms.CharField(label="Licence", required=False, max_length=100)

    def __init__(self, *args: Any, prompt_set: PromptSet | None = None, is_admin: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not is_admin:
            del self.fields["allow_secrets"]
        if prompt_set is not None:
            for name in ("name", "is_holdout_only", "source", "licence"):
                del self.fields[name]

    def clean_file(self) -> UploadedFile | None:
        file: UploadedFile | None = self.cleaned_data["file"]
        if file is not None and (problem := too_large(file)):
            raise forms.ValidationError(f"{problem} Split it, or save it as Parquet.")
        return file

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        has_file, has_lines = bool(data.get("file")), bool((data.get("pasted") or "").strip())
        if has_file and has_lines:
            self.add_error("pasted", "Give a file or pasted lines, not both.")
        elif not has_file and not has_lines and "file" not in self.errors and "pasted" not in self.errors:
            self.add_error("file", "Choose a file, or paste some prompts.")
        return data


class DeploymentChoice(forms.ModelMultipleChoiceField):
    def label_from_instance(self, deployment: Deployment) -> str:
        return f"{deployment.model_version} ({deployment.alias}, on {deployment.endpoint})"


class GenerateForm(OnceForm):
    """What to generate. Every field has a default that works; arms are the models times the temperatures."""

    prompt_set = forms.ModelChoiceField(label="Prompts", queryset=PromptSet.objects.none(), empty_label=None)
    n_prompts = forms.IntegerField(
        label="How many prompts",
        min_value=1,
        max_value=10_000_000,
        required=False,
        help_text="Empty means all of them.",
    )
    n_answers = forms.IntegerField(label="Answers a prompt", min_value=1, max_value=MAX_ANSWERS_PER_PROMPT)
    deployments = DeploymentChoice(
        label="Models",
        queryset=Deployment.objects.none(),
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one model."},
    )
    unused_first = forms.BooleanField(
        label="Prompts without answers first", required=False, help_text="Others follow only where there are too few."
    )
    tags = forms.CharField(
        label="Only with these tags",
        required=False,
        max_length=500,
        help_text="Separated by commas; a prompt has them all.",
    )
    split = forms.ChoiceField(
        label="Split",
        required=False,
        choices=[("", "Training and holdout"), ("train", "Training only"), ("holdout", "Holdout only")],
    )
    order = forms.ChoiceField(
        label="Which ones",
        choices=[("random", "At random (always the same ones)"), ("number", "From the beginning of the set")],
    )
    temperatures = forms.CharField(
        label="Temperature", max_length=100, help_text="Several, separated by commas, are asked side by side."
    )
    max_tokens = forms.IntegerField(label="Longest answer (tokens)", min_value=1, max_value=1_000_000)
    top_p = forms.FloatField(label="Top p", min_value=0, max_value=1)
    top_k = forms.IntegerField(label="Top k", min_value=0, max_value=100_000, help_text="0 = off")
    min_p = forms.FloatField(label="Min p", min_value=0, max_value=1, help_text="0 = off")
    repetition_penalty = forms.FloatField(label="Repetition penalty", min_value=0.1, max_value=10)
    stop = forms.CharField(
        label="Stop texts",
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="One a line; an answer ends before it.",
    )
    seed = forms.IntegerField(label="Seed", min_value=0, max_value=2**31 - 1)

    def __init__(self, *args: Any, project: Project, deployments: list[Deployment], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        sets = project.prompt_sets.filter(n_prompts__gt=0).order_by("-id")
        self.fields["prompt_set"].queryset = sets  # type: ignore[attr-defined]
        self.fields["deployments"].queryset = (  # type: ignore[attr-defined]
            Deployment.objects.filter(pk__in=[deployment.pk for deployment in deployments])
            .select_related("model_version", "endpoint")
            .order_by("-live_at", "-pk")
        )

    @staticmethod
    def defaults(deployment: Deployment | None, prompt_set: PromptSet | None) -> dict[str, Any]:
        """What the form opens with: one click generates with it."""
        plain = Sampling()
        context = deployment.endpoint.max_model_length if deployment else None
        return {
            "prompt_set": prompt_set,
            "n_prompts": 100,
            "n_answers": 4,
            "deployments": [deployment] if deployment else [],
            "unused_first": True,
            "order": "random",
            "temperatures": f"{plain.temperature:g}",
            "max_tokens": min(plain.max_tokens, context // 2) if context else plain.max_tokens,
            "top_p": plain.top_p,
            "top_k": plain.top_k,
            "min_p": plain.min_p,
            "repetition_penalty": plain.repetition_penalty,
            "seed": 0,
        }

    def clean_temperatures(self) -> list[float]:
        try:
            found = [float(part) for part in self.cleaned_data["temperatures"].split(",") if part.strip()]
        except ValueError:
            raise forms.ValidationError("Write numbers, separated by commas.") from None
        if not found or any(not 0 <= value <= 5 for value in found):
            raise forms.ValidationError("A temperature lies between 0 and 5.")
        return list(dict.fromkeys(found))

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if self.errors:
            return data
        if len(data["deployments"]) * len(data["temperatures"]) > MAX_ARMS:
            self.add_error("temperatures", f"Models times temperatures may be at most {MAX_ARMS}.")
        try:
            for sampling in self.samplings():
                read_sampling(sampling)
        except DomainError as problem:
            self.add_error(None, problem.sentence)
        return data

    def samplings(self) -> list[dict[str, Any]]:
        data = self.cleaned_data
        names = ("max_tokens", "top_p", "top_k", "min_p", "repetition_penalty")
        stop = [line for line in data["stop"].replace("\r\n", "\n").split("\n") if line]
        shared = {**{name: data[name] for name in names}, "stop": stop}
        return [{**shared, "temperature": temperature} for temperature in data["temperatures"]]

    def arms(self) -> list[dict[str, Any]]:
        return [
            {"deployment": deployment, "sampling": sampling}
            for deployment in self.cleaned_data["deployments"]
            for sampling in self.samplings()
        ]

    def selection(self) -> dict[str, Any]:
        data = self.cleaned_data
        return {
            "tags": [tag.strip() for tag in data["tags"].split(",") if tag.strip()],
            "split": data["split"],
            "n": data["n_prompts"],
            "order": data["order"],
            "unused_first": data["unused_first"],
        }


class RegisterForm(OnceForm):
    source = forms.CharField(
        label="Path or hub id",
        max_length=500,
        help_text="A directory on this machine, such as /models/qwen, or a hub id such as owner/name or owner/name@revision.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    slug = forms.SlugField(
        label="Short name",
        required=False,
        max_length=60,
        help_text="Letters, digits and hyphens. Empty: made of the source.",
    )
    licence = forms.CharField(label="Licence", required=False, max_length=100)
    note = forms.CharField(label="Note", required=False, max_length=2000, widget=forms.Textarea(attrs={"rows": 2}))
