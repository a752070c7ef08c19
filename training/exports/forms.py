"""The form of an export. What it checks is shape; the rules are in the service."""

from itertools import groupby
from typing import Any

from django import forms

from training.exports.containers import CONTAINERS
from training.exports.formats import BY_NAME, FORMATS, Format
from training.exports.options import Options

DEFAULT = "trl-preference"


class ExportForm(forms.Form):
    """Format, container and options. It offers what the chosen format can be."""

    file_format = forms.ChoiceField(
        label="Format",
        choices=[
            (str(group), [(each.name, each.label) for each in formats])
            for group, formats in groupby(FORMATS, key=lambda each: each.group)
        ],
    )
    container = forms.ChoiceField(label="Written as")
    split = forms.ChoiceField(
        label="Which prompts",
        choices=[("train", "Those to train on"), ("test", "The held-out ones: never train on them")],
        widget=forms.RadioSelect,
    )
    details = forms.BooleanField(label="Further columns: ids, votes behind a row, weights", required=False)
    models = forms.BooleanField(
        label="Name the models",
        required=False,
        help_text="Otherwise they are left out, or called model-1, model-2 … "
        "Who fetches the file no longer judges these answers blind.",
    )
    people = forms.BooleanField(
        label="Name the annotators by their pseudonyms",
        required=False,
        help_text="Otherwise they are left out, or called person-1, person-2 …",
    )

    def __init__(self, data: Any = None, **kwargs: Any) -> None:
        super().__init__(data, **kwargs)
        self.chosen: Format = BY_NAME.get((data or {}).get("file_format", DEFAULT), BY_NAME[DEFAULT])
        names = self.chosen.containers
        self.fields["container"].choices = [  # type: ignore[attr-defined]
            (name, CONTAINERS[name].label if name in CONTAINERS else "Zip of several files") for name in names
        ]
        if data is not None:
            # Of another format that was chosen before: what this one cannot be, or was not asked, has its default.
            container = data.get("container")
            filled = {"container": container if container in names else names[0], "split": data.get("split", "train")}
            self.data = {**data.dict(), **filled}
        for name in ("split", "details", "models", "people"):
            if name not in self.chosen.uses:
                del self.fields[name]

    @property
    def options(self) -> Options:
        """As asked so far; what a half-filled form leaves open has its default."""
        asked = self.cleaned_data if self.is_bound and self.is_valid() else {}
        return Options(**{name: asked[name] for name in Options.model_fields if asked.get(name)})
