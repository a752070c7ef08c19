"""Forms of the annotate screen. What they check is shape; the rules are in the services."""

from typing import Any

from django import forms

from annotation.models import Judgement

# What a button says -> verdict and ranks in the order shown.
CHOICES: dict[str, tuple[str, tuple[int, ...]]] = {
    "a": (Judgement.Verdict.RANKED, (1, 2)),
    "b": (Judgement.Verdict.RANKED, (2, 1)),
    "tie": (Judgement.Verdict.TIE, ()),
    "both_bad": (Judgement.Verdict.ALL_BAD, ()),
}
MAX_NOTE = 2000


class JudgementForm(forms.Form):
    choice = forms.ChoiceField(
        choices=[(value, value) for value in CHOICES], error_messages={"required": "Choose one of the buttons."}
    )
    strength = forms.IntegerField(required=False, min_value=1, max_value=3)
    active = forms.FloatField(required=False)
    note = forms.CharField(required=False, max_length=MAX_NOTE)

    def clean_active(self) -> float:
        """Seconds at work on the task, as coarse as they came; what is no number counts as not measured."""
        seconds = self.cleaned_data.get("active") or 0.0
        return seconds if 0 <= seconds < 24 * 3600 else 0.0

    def judgement(self) -> dict[str, Any]:
        """Arguments for ``submit_judgement``."""
        verdict, ranks = CHOICES[self.cleaned_data["choice"]]
        return {
            "verdict": verdict,
            "ranks": ranks,
            "strength": self.cleaned_data["strength"],
            "seconds_active": self.cleaned_data["active"],
            "comment": self.cleaned_data["note"],
        }


class VoidForm(forms.Form):
    reason = forms.CharField(max_length=500, label="Why it is set aside")
