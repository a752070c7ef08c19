"""The form of a push. What it checks is shape; the rules are in the service."""

from typing import Any

from django import forms
from django.utils.text import slugify

from training.models import PushJob, Snapshot
from training.pushing.places import Destination


class PushForm(forms.Form):
    """Where to, under which name, and how much of it."""

    to = forms.ChoiceField(label="Where to", widget=forms.RadioSelect)
    target = forms.CharField(label="Name there", max_length=200)
    is_public = forms.BooleanField(
        label="Public",
        required=False,
        help_text="Anybody may read it. Otherwise a repository on the hub is made private.",
    )
    with_votes = forms.BooleanField(
        label="With every vote",
        required=False,
        help_text="The records with models, pseudonyms, reasons and comments, the lineage, and the rows as JSON Lines too.",
    )

    def __init__(self, data: Any = None, *, offered: list[Destination], is_export: bool, **kwargs: Any) -> None:
        super().__init__(data, **kwargs)
        self.fields["to"].choices = [(each.name, each.label) for each in offered]  # type: ignore[attr-defined]
        self.fields["target"].help_text = "; ".join(f"{each.label}: {each.target}" for each in offered) + "."
        if "hub" not in [each.name for each in offered]:
            del self.fields["is_public"]
        if is_export:
            del self.fields["with_votes"]


def first_values(snapshot: Snapshot, offered: list[Destination]) -> dict[str, str]:
    """Where this project pushed to last, and a name made of the dataset's."""
    to = offered[0].name
    name = slugify(snapshot.name)[:60] or snapshot.key
    last = PushJob.objects.filter(project=snapshot.project, destination=to).order_by("-id").first()
    owner = last.target.rsplit("/", 1)[0] + "/" if last and "/" in last.target else ""
    return {"to": to, "target": f"{owner}{name}"}
