"""Forms of a campaign's way in: its settings, and the items that a lead writes. The rules are in the services."""

from typing import Any

from django import forms

from annotation.models import Campaign, PracticeItem
from annotation.onboarding import MAX_ITEMS, MAX_PROBATION, MAX_TRIES, onboarding_of
from annotation.practice_items import MAX_BYTES, MAX_TEXT, accepted_text
from annotation.protocol import LETTERS, MAX_ANSWERS
from annotation.screen import STRENGTHS

USES = [
    ("practice", "Practice: the reason is shown after the answer"),
    ("qualification", "Qualification: nothing is said before its end"),
]


class OnboardingForm(forms.Form):
    """What a campaign asks of a new person."""

    keys = forms.BooleanField(
        required=False,
        label="Three tasks that teach the keys",
        help_text="Built in; they follow this campaign's buttons.",
    )
    n_practice = forms.IntegerField(
        min_value=0, max_value=MAX_ITEMS, label="Practice tasks", help_text="0: no practice."
    )
    n_qualification = forms.IntegerField(
        min_value=0, max_value=MAX_ITEMS, label="Tasks of the qualification", help_text="0: no qualification."
    )
    percent = forms.IntegerField(
        min_value=1, max_value=100, label="Pass mark, %", help_text="This share of them right."
    )
    tries = forms.IntegerField(
        min_value=1, max_value=MAX_TRIES, help_text="Each with fresh tasks while there are some."
    )
    probation = forms.IntegerField(
        min_value=0,
        max_value=MAX_PROBATION,
        label="Judgements on probation",
        help_text="They count and are marked for review. 0: none.",
    )

    @classmethod
    def of(cls, campaign: Campaign, data: Any = None) -> "OnboardingForm":
        stands = onboarding_of(campaign)
        names = ("keys", "n_practice", "n_qualification", "tries", "probation")
        initial = {name: getattr(stands, name) for name in names} | {"percent": round(100 * stands.pass_mark)}
        return cls(data, initial=initial)

    def onboarding(self) -> dict[str, Any]:
        """As ``annotation.onboarding.Onboarding.parse`` reads it."""
        given = {name: value for name, value in self.cleaned_data.items() if name != "percent"}
        return given | {"pass_mark": self.cleaned_data["percent"] / 100}


def _area(rows: int, **attrs: str) -> forms.Textarea:
    return forms.Textarea(attrs={"rows": rows, **attrs})


def _better(letter: str, levels: int) -> list[tuple[str, str]]:
    """One answer as the better one: by whatever strength and, on a scale, by each of its steps."""
    if levels < 2:
        return [(letter.lower(), f"{letter} is better")]
    steps = [(f"{letter.lower()}{n}", f"{letter} {word} better") for n, word in enumerate(STRENGTHS[levels], 1)]
    return [(letter.lower(), f"{letter} is better, by any strength"), *steps]


class ItemForm(forms.Form):
    """One item. Earlier turns of a conversation are kept as they are; what is written here is the last one."""

    use = forms.ChoiceField(choices=USES, initial="practice", widget=forms.RadioSelect)
    prompt = forms.CharField(max_length=MAX_TEXT, widget=_area(4))
    reason = forms.CharField(
        max_length=MAX_TEXT,
        required=False,
        widget=_area(4),
        label="Why it is right",
        help_text="Markdown; shown after the answer in practice.",
    )

    def __init__(self, *args: Any, campaign: Campaign, n_answers: int = 2, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.campaign = campaign
        n_rows = 2 if campaign.kind == Campaign.Kind.PAIR else max(4, min(MAX_ANSWERS, n_answers))
        for letter in LETTERS[:n_rows]:
            self.fields[f"answer_{letter}"] = forms.CharField(
                label=f"Answer {letter}", max_length=MAX_TEXT, required=letter in "AB", strip=False, widget=_area(4)
            )
        self.fields["accepted"] = self._accepted()
        self.order_fields(
            ["use", "prompt", *(name for name in self.fields if name.startswith("answer_")), "accepted", "reason"]
        )

    def _accepted(self) -> forms.Field:
        campaign = self.campaign
        if campaign.kind == Campaign.Kind.PAIR:
            verdicts = [*_better("A", campaign.strength_levels), *_better("B", campaign.strength_levels)]
            verdicts += [("tie", "Tie")] if campaign.allow_tie else []
            verdicts += [("both_good", "Both good")] if campaign.allow_both_good else []
            verdicts += [("both_bad", "Both bad")] if campaign.allow_both_bad else []
            help_text = "Any of these is right. The answers are shown in a random order; A is the first one here."
            return forms.MultipleChoiceField(
                choices=verdicts, label="What is right", widget=forms.CheckboxSelectMultiple, help_text=help_text
            )
        example = "B > A = C" if campaign.kind == Campaign.Kind.RANK else "helpful: A 4-5, B 1-2; correct: A 5"
        return forms.CharField(
            label="What is right",
            max_length=2_000,
            widget=_area(3, spellcheck="false"),
            help_text=f"One a line; any of them is right. Such as {example}",
        )

    @staticmethod
    def begin_from(stored: dict[str, Any]) -> dict[str, Any]:
        """The form's initial values from an item, a task or a ruling."""
        messages = stored.get("messages") or []
        initial = {f"answer_{LETTERS[n]}": text for n, text in enumerate(stored.get("answers", ())[:MAX_ANSWERS])}
        return initial | {"prompt": messages[-1]["content"] if messages else "", "reason": stored.get("reason", "")}

    @staticmethod
    def initial_of(item: PracticeItem) -> dict[str, Any]:
        initial = ItemForm.begin_from({"messages": item.messages, "answers": item.answers, "reason": item.reason})
        texts = [accepted_text(each) for each in item.expected]
        is_pair = item.campaign.kind == Campaign.Kind.PAIR
        if is_pair and item.campaign.strength_levels < 2:  # asked for once, and not any more: the direction is left
            texts = [text.rstrip("1234") for text in texts]
        accepted: Any = texts if is_pair else "\n".join(texts)
        return initial | {"use": item.use, "accepted": accepted}

    def item(self, before: list[dict[str, str]]) -> dict[str, Any]:
        """As ``annotation.practice_items.read_item`` reads it. ``before``: the turns before the last one."""
        given = self.cleaned_data
        accepted = given["accepted"]
        answers = [given[name] for name in self.fields if name.startswith("answer_")]
        while len(answers) > 2 and not answers[-1].strip():
            answers.pop()
        return {
            "use": given["use"],
            "messages": [*before, {"role": "user", "content": given["prompt"]}],
            "answers": answers,
            "accepted": accepted
            if isinstance(accepted, list)
            else [line for line in accepted.splitlines() if line.strip()],
            "reason": given["reason"],
        }


class ItemImportForm(forms.Form):
    text = forms.CharField(
        label="Paste items", required=False, max_length=MAX_BYTES, strip=False, widget=_area(6, spellcheck="false"),
        help_text="JSON lines: use, prompt (or messages), answers, accepted, reason.",
    )  # fmt: skip
    file = forms.FileField(label="Or choose a JSONL file", required=False)

    def clean_file(self) -> str:
        upload = self.cleaned_data["file"]
        if upload is None:
            return ""
        if upload.size > MAX_BYTES:
            raise forms.ValidationError("This file is larger than 5 MB.")
        try:
            return str(upload.read().decode("utf-8-sig"))
        except UnicodeDecodeError:
            raise forms.ValidationError("This file is no UTF-8 text.") from None

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("file") and cleaned.get("text", "").strip():
            self.add_error("text", "Paste items or choose a file, not both.")
        cleaned["lines"] = cleaned.get("file") or cleaned.get("text", "")
        if not self.errors and not cleaned["lines"].strip():
            self.add_error("text", "Paste one item a line, or choose a file.")
        return cleaned
