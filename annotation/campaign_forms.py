"""The form of a campaign. What it checks is shape; the rules are in ``annotation.campaigns``."""

from typing import Any, ClassVar

from django import forms
from django.utils import timezone

from accounts.models import Project
from annotation.campaign_options import MAX_LEASE_MINUTES, MAX_OVERLAP
from annotation.models import Campaign
from core.jobs import TERMINAL
from generation.models import GenerationJob, ModelVersion

MAX_MARKDOWN = 50_000


class CampaignForm(forms.Form):
    """What a new campaign compares, and what it asks."""

    PAIRS: ClassVar = [
        ("within", "Answers of the same model with the same settings"),
        ("across", "Answers of different models or settings"),
        ("baseline", "One model version against all others"),
    ]

    name = forms.CharField(max_length=100)
    jobs = forms.ModelMultipleChoiceField(
        queryset=GenerationJob.objects.none(),
        to_field_name="key",
        label="Answers",
        help_text="Answers of these generation jobs are compared with each other.",
        widget=forms.CheckboxSelectMultiple,
    )
    pairs = forms.ChoiceField(choices=PAIRS, initial="within", label="Which answers meet", widget=forms.RadioSelect)
    baseline = forms.ModelChoiceField(
        queryset=ModelVersion.objects.none(),
        to_field_name="key",
        required=False,
        help_text="Only for one version against all others.",
    )
    per_prompt = forms.IntegerField(
        min_value=1, required=False, label="Most pairs of one prompt", help_text="Empty: as many as there are."
    )
    max_tasks = forms.IntegerField(
        min_value=1,
        required=False,
        label="Most pairs in all",
        help_text="Empty: no limit. Every prompt has its first pair before one has its second.",
    )
    overlap = forms.IntegerField(
        min_value=1,
        max_value=MAX_OVERLAP,
        initial=1,
        help_text="How many people judge each pair. Two or more show how far people agree.",
    )
    question = forms.CharField(max_length=300, initial="Which answer is better?")
    guidelines = forms.CharField(
        required=False,
        max_length=MAX_MARKDOWN,
        widget=forms.Textarea(attrs={"rows": 10}),
        help_text="Markdown. Annotators see it before the first task and beside every one. It stays as it is once the campaign starts.",
    )
    allow_tie = forms.BooleanField(required=False, initial=True, label="Offer “Tie”")
    allow_both_bad = forms.BooleanField(required=False, initial=True, label="Offer “Both bad”")
    strength_levels = forms.TypedChoiceField(
        choices=[(0, "No"), (2, "Slightly / clearly"), (3, "Slightly / clearly / far better")],
        coerce=int,
        initial=0,
        label="Ask how much better",
    )
    lease_minutes = forms.IntegerField(
        min_value=1,
        max_value=MAX_LEASE_MINUTES,
        initial=30,
        label="Minutes a task is kept for a person",
    )
    closes_at = forms.DateTimeField(
        required=False,
        label="Closes at",
        help_text="Empty: when you close it.",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        jobs = GenerationJob.objects.filter(project=project, status__in=TERMINAL, arms__candidates__isnull=False)
        jobs = jobs.exclude(kind=GenerationJob.Kind.LIVE)  # each is one turn of somebody's conversation
        self.fields["jobs"].queryset = jobs.distinct().order_by("-id").select_related("prompt_set")  # type: ignore[attr-defined]
        self.fields["jobs"].label_from_instance = _describe  # type: ignore[attr-defined]
        versions = ModelVersion.objects.filter(project=project, purpose=ModelVersion.Purpose.POLICY)
        self.fields["baseline"].queryset = versions.order_by("-id")  # type: ignore[attr-defined]

    def clean_closes_at(self) -> Any:
        closes_at = self.cleaned_data["closes_at"]
        if closes_at is not None and closes_at <= timezone.now():
            raise forms.ValidationError("This time has passed.")
        return closes_at

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("pairs") == "baseline" and not cleaned.get("baseline"):
            self.add_error("baseline", "Choose the version that the others are compared with.")
        return cleaned

    def campaign(self) -> dict[str, Any]:
        """Arguments for ``start_campaign``."""
        given = self.cleaned_data
        baseline = given["baseline"].key if given["pairs"] == "baseline" else ""
        pairing = {name: given[name] for name in ("pairs", "per_prompt", "max_tasks")} | {"baseline": baseline}
        options = (
            "question", "guidelines", "allow_tie", "allow_both_bad", "strength_levels", "lease_minutes", "closes_at",
        )  # fmt: skip
        return {
            "name": given["name"],
            "jobs": list(given["jobs"]),
            "pairing": pairing,
            "overlap": given["overlap"],
            "options": {name: given[name] for name in options},
        }


def _describe(job: GenerationJob) -> str:
    """A job without its models: who chooses what is judged may judge, too."""
    prompts = job.prompt_set.name if job.prompt_set else job.get_kind_display()
    when = timezone.localtime(job.created_at).strftime("%d %b %H:%M")
    return f"{prompts}: {len(job.prompt_ids):,} prompts × {job.n_answers} answers, {when}"


def options_of_latest(project: Project) -> dict[str, Any]:
    """Question, guidelines and scale of the project's latest campaign, to begin the next one with."""
    latest = Campaign.objects.filter(project=project).order_by("-id").first()
    if latest is None:
        return {"guidelines": project.guidelines}
    names = ("question", "guidelines", "allow_tie", "allow_both_bad", "strength_levels", "lease_minutes", "overlap")
    return {name: getattr(latest, name) for name in names}
