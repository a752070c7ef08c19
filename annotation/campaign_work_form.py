"""How the work of a campaign is organised: the part of its form that may change at any time."""

from typing import Any

from django import forms
from django.utils import timezone

from accounts.models import Membership, Project
from annotation.campaign_options import MAX_CAP, MAX_LEASE_MINUTES, MAX_MARKDOWN, MAX_OVERLAP


class WorkForm(forms.Form):
    """How the work is organised; may change at any time."""

    name = forms.CharField(max_length=100)
    overlap = forms.IntegerField(
        min_value=1,
        max_value=MAX_OVERLAP,
        initial=1,
        help_text="How many people judge each task. Two or more show how far people agree.",
    )
    lease_minutes = forms.IntegerField(
        min_value=1, max_value=MAX_LEASE_MINUTES, initial=30, label="Minutes a task is kept for a person"
    )
    closes_at = forms.DateTimeField(
        required=False,
        label="Closes at",
        help_text="Empty: when you close it.",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )
    cap_per_person = forms.IntegerField(
        min_value=1, max_value=MAX_CAP, required=False, label="Most judgements of one person"
    )
    cap_per_day = forms.IntegerField(
        min_value=1, max_value=MAX_CAP, required=False, label="Most of one person a day", help_text="Days are UTC."
    )
    groups = forms.MultipleChoiceField(
        required=False, widget=forms.CheckboxSelectMultiple, label="For these groups", help_text="None: for everybody."
    )
    languages = forms.MultipleChoiceField(
        required=False, widget=forms.CheckboxSelectMultiple, label="For people who read"
    )
    people = forms.MultipleChoiceField(required=False, widget=forms.CheckboxSelectMultiple, label="For these people")
    pay_per_hour = forms.FloatField(
        min_value=0, required=False, label="Pay for an hour", help_text="In your currency; for the estimate of cost."
    )
    is_sensitive = forms.BooleanField(
        required=False,
        label="The content is sensitive",
        help_text="People agree first and may take it back; answers are blurred until revealed; skipping costs nothing.",
    )
    support_text = forms.CharField(
        required=False,
        max_length=MAX_MARKDOWN,
        widget=forms.Textarea(attrs={"rows": 3}),
        label="Support text",
        help_text="Markdown, beside sensitive tasks: whom to talk to, when to stop.",
    )
    keys = forms.BooleanField(
        required=False, label="Three practice tasks that teach the keys", help_text="New people begin with them."
    )
    n_practice = forms.IntegerField(
        min_value=0, max_value=50, required=False, label="Practice tasks", help_text="The reason is shown after each."
    )
    n_qualification = forms.IntegerField(min_value=0, max_value=50, required=False, label="Qualification tasks")
    pass_mark = forms.IntegerField(min_value=1, max_value=100, required=False, label="Pass mark (per cent)")
    tries = forms.IntegerField(min_value=1, max_value=10, required=False, label="Tries")
    probation = forms.IntegerField(
        min_value=0, max_value=1000, required=False, label="Judgements on probation", help_text="Marked as such."
    )

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        members = list(Membership.objects.filter(project=project, is_annotator=True).select_related("user"))
        choices = {
            "groups": sorted({group for member in members for group in member.groups}),
            "languages": sorted({language for member in members for language in member.languages}),
        }
        for name, values in choices.items():
            # What a campaign had stays a choice, even where its last member has left.
            had = [str(value) for value in self.initial.get(name) or []]
            self.fields[name].choices = [(value, value) for value in [*values, *(v for v in had if v not in values)]]  # type: ignore[attr-defined]
        people = sorted(
            ((member.user.key, str(member.user)) for member in members), key=lambda pair: pair[1].casefold()
        )
        self.fields["people"].choices = people  # type: ignore[attr-defined]

    def clean_closes_at(self) -> Any:
        closes_at = self.cleaned_data["closes_at"]
        if closes_at is not None and closes_at <= timezone.now():
            raise forms.ValidationError("This time has passed.")
        return closes_at

    def options(self) -> dict[str, Any]:
        given = self.cleaned_data
        names = (
            "lease_minutes", "closes_at", "cap_per_person", "cap_per_day", "pay_per_hour", "is_sensitive", "support_text",
        )  # fmt: skip
        mark = given["pass_mark"]
        onboarding = {name: given[name] for name in ("n_practice", "n_qualification", "tries", "probation")}
        return {
            **{name: given[name] for name in names},
            "audience": {name: given[name] for name in ("groups", "languages", "people")},
            "onboarding": {
                **onboarding,
                "keys": given["keys"],
                "pass_mark": mark / 100 if mark else None,
            },
        }
