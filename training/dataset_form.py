"""The form of a new dataset: which judgements, what decides, and which rows. What it checks is shape; the rules are in the services."""

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.db.models import Exists, OuterRef

from accounts.models import Project
from annotation.models import Annotator, Assignment, Campaign, Flag
from annotation.people import n_submitted_in
from annotation.protocol import Protocol
from generation.models import ModelVersion
from training.selecting import freezable_campaigns, rounds_of

WEIGHT = "weight_"  # before the name of a criterion
MAX_PEOPLE = 1000  # that a list can hold and a person can read


def _check(label: str, help_text: str = "") -> forms.BooleanField:
    return forms.BooleanField(label=label, required=False, help_text=help_text)


def _number(label: str, *, is_share: bool = False) -> forms.Field:
    if is_share:
        return forms.FloatField(
            label=label, required=False, min_value=0, max_value=1, widget=forms.NumberInput({"step": "0.05"})
        )
    return forms.IntegerField(label=label, required=False, min_value=1)


def _several(label: str, help_text: str = "") -> forms.MultipleChoiceField:
    return forms.MultipleChoiceField(
        label=label, required=False, help_text=help_text, widget=forms.SelectMultiple({"size": 4})
    )


class DatasetForm(forms.Form):
    """Which judgements are frozen, what decides between two answers, and how several judgements of one pair become rows."""

    name = forms.CharField(label="Name", max_length=100)
    campaigns = forms.MultipleChoiceField(label="Judgements of", widget=forms.CheckboxSelectMultiple)
    aggregation = forms.ChoiceField(
        label="When several people judge one pair",
        choices=[
            (
                "majority",
                "One row a pair, by majority – more than half of its judgements; the rest is dropped and counted",
            ),
            ("votes", "One row a judgement – people who disagree give rows both ways"),
        ],
        widget=forms.RadioSelect,
    )
    with_simulated = _check("Judgements of simulated people too", "For a dry run or the demo.")
    with_ai = _check("Judgements by a machine too")
    with_unblinded = _check(
        "Judgements that were not blind too", "By people who could have seen which model wrote an answer."
    )
    with_adjudicated = _check("Verdicts of an adjudicator, over the votes on the same task")

    rounds = _several("Only these rounds")
    tags = forms.CharField(
        label="Only prompts with one of these tags", required=False, help_text="Separated by commas."
    )
    since = forms.DateField(label="From", required=False, widget=forms.DateInput({"type": "date"}))
    until = forms.DateField(label="Until", required=False, widget=forms.DateInput({"type": "date"}))
    only_current_policy = _check("Only answers of the policy that is live", "Others are taken out of a ranking.")
    models = _several("Only answers of")
    not_models = _several("No answers of")
    annotators = _several("Only judgements by")
    not_annotators = _several("No judgements by")
    max_per_annotator = _number("Judgements of one person at most")
    without_flags = forms.MultipleChoiceField(
        label="Leave out what is flagged as",
        required=False,
        choices=Flag.Kind.choices,
        widget=forms.CheckboxSelectMultiple,
        help_text="While the flag is open or upheld: the task, or the one answer.",
    )

    question = forms.ChoiceField(
        label="What decides",
        required=False,
        choices=[
            ("overall", "The choice or ranking that people gave"),
            ("criteria", "Criteria, by their weights below"),
        ],
        widget=forms.RadioSelect,
    )
    veto_flags = forms.MultipleChoiceField(
        label="Drop a pair whose chosen answer is flagged as",
        required=False,
        choices=Flag.Kind.choices,
        widget=forms.CheckboxSelectMultiple,
    )
    veto_criterion = forms.ChoiceField(label="or is rated badly on", required=False)
    veto_at = forms.IntegerField(label="at this level or worse", required=False, min_value=1, max_value=10, initial=1)
    write_ins = _check("Better answers that people wrote count as the best")
    unpaired = _check("“Both good” and “both bad” as rows without a pair", "In files of their own, for KTO.")

    pairs = forms.ChoiceField(
        label="Pairs of a ranking",
        required=False,
        choices=[
            ("all", "All: k answers give k·(k−1)/2"),
            ("adjacent", "Neighbours only: k−1"),
            ("best_worst", "The best against the worst: 1"),
        ],
    )
    min_votes = _number("Judgements of a pair at least")
    min_agreement = _number("Agreement on a pair at least, 0 to 1", is_share=True)
    min_strength = _number("Strength at least, 0 to 1", is_share=True)
    max_per_prompt = _number("Pairs of a prompt at most")
    max_chars = _number("Characters of prompt and answer at most")
    duplicates = forms.ChoiceField(
        label="What reads like another one",
        required=False,
        choices=[
            ("keep", "Keep it"),
            ("drop", "Drop pairs that differ in case and spacing only, and prompts of the same words"),
            ("drop_near", "Drop these, and prompts that share four fifths of their word pairs with another one"),
        ],
        help_text="Held-out prompts are compared among themselves, and so are those to train on.",
    )

    CHOOSING = (
        "rounds", "tags", "since", "until", "only_current_policy", "models", "not_models", "annotators", "not_annotators",
        "max_per_annotator", "without_flags",
    )  # fmt: skip
    CUTTING = ("pairs", "min_votes", "min_agreement", "min_strength", "max_per_prompt", "max_chars", "duplicates")

    def __init__(self, *args: Any, project: Project, is_preview: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.open_campaigns = {campaign.key: campaign for campaign in freezable_campaigns(project)}
        n_judged = n_submitted_in(self.open_campaigns.values())
        self._offer(
            campaigns=[
                (key, f"{each.name} – {n_judged.get(each.pk, 0):,} judgements, {each.get_stage_display().lower()}")
                for key, each in self.open_campaigns.items()
            ]
        )
        versions = _versions(self.open_campaigns.values())
        people = [(each, each) for each in _pseudonyms(self.open_campaigns.values())]
        rounds = [(str(number), f"Round {number}") for number in rounds_of(project)]
        self._offer(models=versions, not_models=versions, annotators=people, not_annotators=people, rounds=rounds)
        self._ask_criteria()
        # A preview is asked for while the form is being filled in: nothing is missing yet.
        self.fields["name"].required = not is_preview
        self.fields["campaigns"].required = not is_preview

    def _offer(self, **choices: list[tuple[str, str]]) -> None:
        for name, offered in choices.items():
            self.fields[name].choices = offered  # type: ignore[attr-defined]

    def _ask_criteria(self) -> None:
        labels: dict[str, str] = {}
        rated: dict[str, str] = {}
        for campaign in self.open_campaigns.values():
            for criterion in Protocol.parse(campaign.protocol).criteria:
                labels.setdefault(criterion.name, criterion.label)
                if criterion.kind == "rate":
                    rated.setdefault(criterion.name, criterion.label)
        for name, label in labels.items():
            self.fields[WEIGHT + name] = forms.FloatField(
                label=label, required=False, min_value=-1000, max_value=1000, widget=forms.NumberInput({"step": "any"})
            )
        self._offer(veto_criterion=[("", "–"), *rated.items()])

    @property
    def weights(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name.startswith(WEIGHT)]

    @property
    def choosing(self) -> list[forms.BoundField]:
        """Fields of the narrower selection that have something to offer."""
        return [self[name] for name in self.CHOOSING if getattr(self.fields[name], "choices", True)]

    @property
    def cutting(self) -> list[forms.BoundField]:
        return [self[name] for name in self.CUTTING]

    @property
    def is_choosing(self) -> bool:
        return self._has_some(self.CHOOSING)

    @property
    def is_deciding(self) -> bool:
        names = ("veto_flags", "veto_criterion", "write_ins", "unpaired")
        return self._has_some(names) or self._value("question") == "criteria"

    @property
    def is_cutting(self) -> bool:
        return self._has_some([name for name in self.CUTTING if name != "pairs"]) or self._value("pairs") not in (
            None,
            "",
            "all",
        )

    def _value(self, name: str) -> Any:
        return self[name].value()

    def _has_some(self, names: Iterable[str]) -> bool:
        return any(self._value(name) or self[name].errors for name in names)

    def options(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What ``preview`` and ``start_freeze`` take."""
        return {
            "campaigns": [
                self.open_campaigns[key] for key in values.get("campaigns") or () if key in self.open_campaigns
            ],
            "selection": self._selection(values),
            "pair_policy": self._policy(values),
        }

    def _selection(self, values: Mapping[str, Any]) -> dict[str, Any]:
        names = ("with_simulated", "with_ai", "with_unblinded", "with_adjudicated", "only_current_policy")
        found: dict[str, Any] = {name: bool(values.get(name)) for name in names}
        for name in ("models", "not_models", "annotators", "not_annotators", "without_flags"):
            found[name] = tuple(values.get(name) or ())
        found["rounds"] = tuple(int(number) for number in values.get("rounds") or ())
        tags = (tag.strip() for tag in str(values.get("tags") or "").split(","))
        found["tags"] = tuple(dict.fromkeys(tag for tag in tags if tag))
        return found | {name: values.get(name) or None for name in ("since", "until", "max_per_annotator")}

    def _policy(self, values: Mapping[str, Any]) -> dict[str, Any]:
        weights = {
            name[len(WEIGHT) :]: values[name] for name in self.fields if name.startswith(WEIGHT) and values.get(name)
        }
        return {
            "aggregation": values.get("aggregation") or "majority",
            "pairs": values.get("pairs") or "all",
            "criteria": weights if values.get("question") == "criteria" else {},
            "veto_flags": tuple(values.get("veto_flags") or ()),
            "veto_criterion": values.get("veto_criterion") or "",
            "veto_at": values.get("veto_at") or 1 if values.get("veto_criterion") else 1,
            "write_ins": bool(values.get("write_ins")),
            "unpaired": bool(values.get("unpaired")),
            "min_votes": values.get("min_votes") or 1,
            "min_agreement": values.get("min_agreement") or 0.0,
            "min_strength": values.get("min_strength") or 0.0,
            "max_per_prompt": values.get("max_per_prompt") or None,
            "max_chars": values.get("max_chars") or None,
            "duplicates": values.get("duplicates") or "keep",
        }

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        if values.get("question") == "criteria" and not self._policy(values)["criteria"] and "name" in self.fields:
            self.add_error("question", "Give at least one criterion a weight.")
        return values


def _versions(campaigns: Iterable[Campaign]) -> list[tuple[str, str]]:
    found = ModelVersion.objects.filter(arms__job__campaigns__in=list(campaigns)).distinct().order_by("-id")
    return list(found.values_list("key", "slug"))


def _pseudonyms(campaigns: Iterable[Campaign]) -> list[str]:
    """Who judged in these campaigns; of very many people the first ones."""
    judged = Assignment.objects.filter(annotator=OuterRef("pk"), task__campaign__in=list(campaigns))
    found = Annotator.objects.filter(Exists(judged)).order_by("pseudonym")
    return list(found.values_list("pseudonym", flat=True)[:MAX_PEOPLE])
