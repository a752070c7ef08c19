"""The parts of a campaign's form: which answers, and what is asked. ``annotation.campaign_work_form`` has how the work is organised.

What they check is shape; the rules are in the services.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from django import forms
from django.utils import timezone
from django.utils.text import slugify

from accounts.models import Project
from annotation.campaign_options import MAX_MARKDOWN, MAX_QUESTION
from annotation.models import Campaign
from annotation.pairs import BY_DEFAULT
from annotation.protocol import MAX_ANSWERS, MAX_COMMENT, MAX_LEVELS, SCALES, Criterion, Protocol
from annotation.texts import NEAR
from core.counting import counted
from core.jobs import TERMINAL
from generation.models import GenerationJob, ModelVersion

LEAVE_OUT = [
    ("empty", "Empty answers"),
    ("leaking", "Answers with special tokens or role markers of a chat template"),
    ("naming", "Answers that say which model wrote them"),
    ("truncated", "Answers that were cut off at the length limit"),
]
SHOW = [("note", "The prompt's note"), ("reference", "A reference answer"), ("checklist", "A checklist")]


class AnswersForm(forms.Form):
    """Which answers are compared, and how they meet."""

    PAIRS: ClassVar = [
        ("within", "Answers of the same model with the same settings"),
        ("across", "Answers of different models or settings"),
        ("baseline", "One model version against all others"),
        ("random", "Any answers, at random"),
    ]
    KIND: ClassVar = [
        ("pair", "Compare two answers"),
        ("rank", "Rank two to nine answers"),
        ("rate", "Rate answers, each by itself, on the criteria below"),
    ]

    kind = forms.ChoiceField(choices=KIND, initial="pair", label="What people do", widget=forms.RadioSelect)
    jobs = forms.ModelMultipleChoiceField(
        queryset=GenerationJob.objects.none(),
        to_field_name="key",
        label="Answers",
        help_text="Answers of these jobs are compared with each other.",
        widget=forms.CheckboxSelectMultiple,
    )
    pairs = forms.ChoiceField(choices=PAIRS, initial="within", label="Which answers meet", widget=forms.RadioSelect)
    baseline = forms.ModelChoiceField(
        queryset=ModelVersion.objects.none(),
        to_field_name="key",
        required=False,
        help_text="Only for one version against all others.",
    )
    n_answers = forms.IntegerField(
        min_value=2,
        max_value=MAX_ANSWERS,
        initial=4,
        required=False,
        label="Answers shown together",
        help_text="For ranking and rating. A prompt with fewer shows what it has.",
    )
    per_prompt = forms.IntegerField(
        min_value=1, required=False, label="Most tasks of one prompt", help_text="Empty: as many as there are."
    )
    max_tasks = forms.IntegerField(
        min_value=1,
        required=False,
        label="Most tasks in all",
        help_text="Empty: no limit. Every prompt has its first task before one has its second.",
    )
    leave_out = forms.MultipleChoiceField(
        choices=LEAVE_OUT,
        required=False,
        initial=list(BY_DEFAULT),
        label="Leave out",
        help_text="Imported answers may rightly be empty: then untick the first.",
        widget=forms.CheckboxSelectMultiple,
    )
    near = forms.IntegerField(
        min_value=50,
        max_value=100,
        required=False,
        initial=round(100 * NEAR),
        label="Nearly the same from",
        help_text="Per cent of words in common, in order. Such answers do not meet; differing numbers always do. Empty: "
        "only equal answers are kept apart.",
    )
    regression_share = forms.IntegerField(
        min_value=0,
        max_value=100,
        required=False,
        initial=0,
        label="Per cent of tasks, new against old",
        help_text="Pits a version against the one before on held-out prompts, blind. Enters no dataset. 0: none.",
    )
    new = forms.ModelChoiceField(
        queryset=ModelVersion.objects.none(), to_field_name="key", required=False, label="New version",
        empty_label="The newest with a version before it",
    )  # fmt: skip
    old = forms.ModelChoiceField(
        queryset=ModelVersion.objects.none(), to_field_name="key", required=False, label="Version before",
        empty_label="The one that it was made from",
    )  # fmt: skip

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        jobs = GenerationJob.objects.filter(project=project, status__in=TERMINAL, arms__candidates__isnull=False)
        jobs = jobs.exclude(kind=GenerationJob.Kind.LIVE)
        self.fields["jobs"].queryset = jobs.distinct().order_by("-id").select_related("prompt_set")  # type: ignore[attr-defined]
        self.fields["jobs"].label_from_instance = describe  # type: ignore[attr-defined]
        versions = ModelVersion.objects.filter(project=project, purpose=ModelVersion.Purpose.POLICY).order_by("-id")
        for name in ("baseline", "new", "old"):
            self.fields[name].queryset = versions  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("pairs") == "baseline" and not cleaned.get("baseline"):
            self.add_error("baseline", "Choose the version that the others are compared with.")
        if bool(cleaned.get("new")) != bool(cleaned.get("old")):
            self.add_error("old" if cleaned.get("new") else "new", "Choose both versions, or leave both to us.")
        return cleaned

    def pairing(self) -> dict[str, Any]:
        given = self.cleaned_data
        return {
            "pairs": given["pairs"],
            "baseline": given["baseline"].key if given["pairs"] == "baseline" else "",
            "per_prompt": given["per_prompt"],
            "max_tasks": given["max_tasks"],
            "n_answers": 2 if given["kind"] == "pair" else given["n_answers"] or 2,
            "leave_out": given["leave_out"],
            "near": (given["near"] or 0) / 100,
            "new": given["new"].key if given["new"] else "",
            "old": given["old"].key if given["old"] else "",
        }

    @property
    def share(self) -> float:
        return (self.cleaned_data["regression_share"] or 0) / 100


class AskedForm(forms.Form):
    """What people are asked. A change of these is a change of meaning."""

    SCALE: ClassVar = [
        (0, "No: only which one"),
        (4, "4 levels: clearly or slightly, on each side"),
        (6, "6 levels: three on each side"),
        (7, "7 levels: three on each side, and about the same (HelpSteer)"),
        (8, "8 levels: four on each side (Llama 2, HH)"),
    ]

    question = forms.CharField(max_length=MAX_QUESTION, initial="Which answer is better?")
    scale = forms.TypedChoiceField(
        choices=SCALE, coerce=int, initial=0, required=False, empty_value=0,  # type: ignore[arg-type]  # coerced like the rest
        label="Ask how much better",
        help_text="One key then says which one and how much. For comparing two answers.",
    )  # fmt: skip
    allow_tie = forms.BooleanField(
        required=False,
        initial=True,
        label="Offer “Tie”",
        help_text="On a scale, its middle is the tie: 7 levels have one.",
    )
    allow_both_good = forms.BooleanField(required=False, label="Offer “Both good”")
    allow_both_bad = forms.BooleanField(required=False, initial=True, label="Offer “Both bad”")
    chosen_is_worse = forms.BooleanField(
        required=False,
        label="The chosen answer is the worse one",
        help_text="For red-teaming. What was said is kept; datasets turn it round.",
    )
    allow_rank_ties = forms.BooleanField(required=False, initial=True, label="A ranking may have ties")
    reasons = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 4}),
        label="Reasons to tick",
        help_text="One a line.",
    )
    needs_reason = forms.BooleanField(required=False, label="At least one reason is required")
    comment = forms.ChoiceField(
        choices=[("off", "No"), ("optional", "Optional"), ("required", "Required")], initial="optional", required=False
    )
    min_comment = forms.IntegerField(
        min_value=0, max_value=MAX_COMMENT, required=False, initial=0, label="Shortest comment",
        help_text="Characters, where a comment is required.",
    )  # fmt: skip
    write_in = forms.BooleanField(
        required=False,
        label="A better answer may be written",
        help_text="Or one of the answers edited. Kept as a demonstration.",
    )
    has_flags = forms.BooleanField(
        required=False,
        initial=True,
        label="Flags",
        help_text="Harmful, private data, names its model, broken, cannot judge.",
    )
    show = forms.MultipleChoiceField(
        choices=SHOW, required=False, label="Shown with the prompt", widget=forms.CheckboxSelectMultiple
    )
    has_diff = forms.BooleanField(required=False, label="Offer to mark the words that differ")
    guidelines = forms.CharField(
        required=False,
        max_length=MAX_MARKDOWN,
        widget=forms.Textarea(attrs={"rows": 10}),
        help_text="Markdown, in a drawer beside every task. A later change is a new version, which people confirm.",
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("scale"):
            cleaned["allow_tie"] = SCALES[cleaned["scale"]][1]
        return cleaned

    def protocol(self, criteria: Sequence[Criterion]) -> Protocol:
        given = self.cleaned_data
        reasons = dict.fromkeys(line.strip() for line in given["reasons"].splitlines())
        comment = given["comment"] or "off"
        return Protocol(
            criteria=tuple(criteria),
            reasons=tuple(reason for reason in reasons if reason),
            needs_reason=given["needs_reason"],
            comment=comment,  # type: ignore[arg-type]  # one of the field's choices
            min_comment=(given["min_comment"] or 0) if comment == "required" else 0,
            write_in="optional" if given["write_in"] else "off",
            has_flags=given["has_flags"],
            show=tuple(given["show"]),
            has_diff=given["has_diff"],
            allow_rank_ties=given.get("allow_rank_ties", True),
        )

    def options(self, criteria: Sequence[Criterion], *, kind: str) -> dict[str, Any]:
        given = self.cleaned_data
        names = ("question", "guidelines", "allow_tie", "allow_both_good", "allow_both_bad")
        is_pair = kind == Campaign.Kind.PAIR
        return {
            **{name: given[name] for name in names},
            "strength_levels": SCALES[given.get("scale") or 0][0] if is_pair else 0,
            "chosen_is_worse": given.get("chosen_is_worse", False) and is_pair,
            "protocol": self.protocol(criteria),
        }


class CriterionForm(forms.Form):
    """One row: a further question. ``answer`` says how it is answered, in one choice."""

    ANSWERS: ClassVar = [
        ("compare-1-tie", "A, B or tie"),
        ("compare-1", "A or B"),
        ("compare-2", "A or B on 4 levels"),
        ("compare-2-tie", "A or B on 5 levels"),
        ("compare-3", "A or B on 6 levels"),
        ("compare-3-tie", "A or B on 7 levels"),
        ("compare-4", "A or B on 8 levels"),
        ("compare-4-tie", "A or B on 9 levels"),
        *((f"rate-{n}", f"Each answer, 1 to {n}") for n in range(2, MAX_LEVELS + 1)),
    ]

    label = forms.CharField(max_length=200, required=False, label="Question or criterion")
    answer = forms.ChoiceField(choices=ANSWERS, initial="compare-1-tie", required=False, label="Answered by")
    low = forms.CharField(max_length=200, required=False, label="The lowest level means")
    high = forms.CharField(max_length=200, required=False, label="The highest level means")
    is_higher_better = forms.BooleanField(required=False, initial=True, label="More is better")
    is_required = forms.BooleanField(required=False, initial=True, label="Required")
    name = forms.CharField(max_length=40, required=False, widget=forms.HiddenInput)

    def criterion(self, taken: set[str]) -> Criterion | None:
        """None for a row without a label: it was added and left alone."""
        given = self.cleaned_data
        label = given["label"].strip()
        if not label:
            return None
        kind, levels, *tie = (given["answer"] or "compare-1-tie").split("-")
        return Criterion(
            name=_free_name(given["name"] or label, taken),
            label=label,
            kind=kind,  # type: ignore[arg-type]  # one of the field's choices
            levels=int(levels),
            low=given["low"].strip(),
            high=given["high"].strip(),
            allow_tie=bool(tie) if kind == "compare" else True,
            is_higher_better=given["is_higher_better"],
            is_required=given["is_required"],
        )


def _free_name(wish: str, taken: set[str]) -> str:
    """A name for a criterion, from its label at first and kept from then on."""
    name = slugify(wish).replace("-", "_").lstrip("0123456789_")[:36] or "criterion"
    free = next(each for number in range(1, 100) if (each := name if number == 1 else f"{name}_{number}") not in taken)
    taken.add(free)
    return free


def describe(job: GenerationJob) -> str:
    """A job without its models: who chooses what is judged may judge, too."""
    prompts = job.prompt_set.name if job.prompt_set else job.get_kind_display()
    when = timezone.localtime(job.created_at).strftime("%d %b %H:%M")
    n_arms = job.arms.count()
    arms = f", {n_arms} arms" if n_arms > 1 else ""
    how = " (imported)" if job.kind == GenerationJob.Kind.IMPORT else ""
    size = f"{counted(len(job.prompt_ids), 'prompt')} × {counted(job.n_answers, 'answer')}"
    return f"{prompts}: {size}{arms}, {when}{how}"
