"""The form of an import of votes. It checks shape; the rules are in ``job`` and ``choices``."""

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile

from annotation.votes.choices import MAX_GUIDELINES, MAX_OPEN_FOR
from annotation.votes.sources.mapped import ROLES
from core.uploads import too_large
from generation.forms import MAX_PASTED_CHARS, OnceForm


class MappingForm(forms.Form):
    """Which column is what, of a table that no format knows. The rules are in ``sources.mapped``."""

    def __init__(self, data: Any = None, *, columns: Mapping[str, Sequence[str]], initial: Mapping[str, str]) -> None:
        super().__init__(data, initial=dict(initial), prefix="map")
        choices = [("", "(no column)"), *((name, _choice(name, cells)) for name, cells in columns.items())]
        for role in ROLES:
            self.fields[role.name] = forms.ChoiceField(
                label=role.label, help_text=role.help, choices=choices, required=role.name == "prompt"
            )

    def mapping(self) -> dict[str, str]:
        return {name: column for name, column in self.cleaned_data.items() if column}


def _choice(name: str, cells: Sequence[str]) -> str:
    shown = next((cell for cell in cells if cell.strip()), "")
    return f"{name[:60]}: {shown[:40]}" if shown else name[:60]


class VotesForm(OnceForm):
    """A file or pasted lines, and what they become."""

    name = forms.CharField(
        label="Name", max_length=100, help_text="The campaign and the prompt set are called so."
    )  # fmt: skip
    file = forms.FileField(
        label="File",
        required=False,
        help_text="JSON Lines (also as .zst), a JSON array, CSV or Parquet: whatever wrote it, the form is recognised by its content.",
        widget=forms.ClearableFileInput(attrs={"accept": ".jsonl,.ndjson,.json,.csv,.tsv,.parquet,.pq,.zst"}),
    )
    pasted = forms.CharField(
        label="Or paste lines",
        required=False,
        strip=False,
        max_length=MAX_PASTED_CHARS,
        widget=forms.Textarea(attrs={"rows": 5, "spellcheck": "false"}),
    )
    source = forms.CharField(
        label="Where the people are from",
        required=False,
        max_length=60,
        help_text="The same id from the same source is the same person, in later imports too. Empty means the name above.",
    )
    open_for = forms.IntegerField(
        label="Further judgements a task",
        min_value=0,
        max_value=MAX_OPEN_FOR,
        initial=0,
        help_text="By people here. 0 leaves the campaign closed: the votes are the record.",
    )
    question = forms.CharField(label="What they were asked", max_length=300, initial="Which answer is better?")
    guidelines = forms.CharField(
        label="The instruction they had read",
        required=False,
        max_length=MAX_GUIDELINES,
        help_text="Markdown. Kept as the campaign's guidelines.",
        widget=forms.Textarea(attrs={"rows": 5}),
    )
    licence = forms.CharField(label="Licence", required=False, max_length=100)
    is_holdout_only = forms.BooleanField(
        label="For holdout only", required=False, help_text="No vote of it ever trains a model."
    )
    allow_secrets = forms.BooleanField(
        label="Let rows with secrets in",
        required=False,
        help_text="Rows that hold what looks like a key, a token or a card number are quarantined otherwise. Only an admin may.",
    )
    skip_bad_rows = forms.BooleanField(
        label="Skip rows that cannot be used",
        required=False,
        help_text="Otherwise one bad row means that nothing is imported. Either way each is listed with its reason.",
    )

    def clean_file(self) -> UploadedFile | None:
        file: UploadedFile | None = self.cleaned_data["file"]
        if file is not None and (problem := too_large(file)):
            raise forms.ValidationError(f"{problem} Split it.")
        return file

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        has_file, has_lines = bool(data.get("file")), bool((data.get("pasted") or "").strip())
        if has_file and has_lines:
            self.add_error("pasted", "Give a file or pasted lines, not both.")
        elif not has_file and not has_lines and "file" not in self.errors and "pasted" not in self.errors:
            self.add_error("file", "Choose a file, or paste some lines.")
        return data

    def choices(self) -> dict[str, Any]:
        """As ``votes.choices.Choices``."""
        names = ("question", "guidelines", "licence", "is_holdout_only", "open_for", "allow_secrets")
        return {name: self.cleaned_data[name] for name in names}
