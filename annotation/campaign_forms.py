"""The whole form of a campaign, over one set of fields: what a page shows, what a view asks, and what it begins with."""

from collections.abc import Iterator, Mapping
from typing import Any

from django import forms
from django.forms.boundfield import BoundField
from django.http import QueryDict

from accounts.models import Project
from annotation.campaign_form_parts import AnswersForm, AskedForm, CriterionForm
from annotation.campaign_work_form import WorkForm
from annotation.models import Campaign
from annotation.protocol import MAX_CRITERIA, SCALES, Criterion, Protocol


class CampaignForm:
    """All parts, over one set of fields: what a page shows and a view asks.

    data     what was posted; None for a fresh form
    draft    show ``data`` again without judging it: a row was added, or the plan was asked for
    kind     of a campaign that has started: what is fixed then is not asked
    may_raise  whether the overlap of that one can still be raised
    """

    def __init__(
        self,
        data: QueryDict | None = None,
        *,
        project: Project,
        initial: Mapping[str, Any] | None = None,
        draft: bool = False,
        kind: str = "",
        may_raise: bool = False,
    ) -> None:
        initial = dict(initial or {})
        rows: list[dict[str, Any]] = initial.pop("criteria", [])
        bound = None if draft else data
        if data is not None:
            rows = [{} for _ in range(_n_rows(data))]
            if draft:
                initial = initial | _raw(data, AnswersForm, AskedForm, WorkForm)
                rows = [_raw(data, CriterionForm, prefix=f"criterion-{n}-") for n in range(len(rows))]
        self.kind = kind
        self.is_bound = bound is not None
        self.answers = None if kind else AnswersForm(bound, project=project, initial=initial)
        self.asked = AskedForm(bound, initial=initial)
        self.work = WorkForm(bound, project=project, initial=initial)
        if kind:
            if may_raise:
                self.work.fields[
                    "overlap"
                ].help_text = "How many people judge each task. It can be raised, not lowered."
            else:
                del self.work.fields["overlap"]
            del self.asked.fields["chosen_is_worse"]
            if kind != Campaign.Kind.RANK:
                del self.asked.fields["allow_rank_ties"]
            if kind != Campaign.Kind.PAIR:
                del self.asked.fields["scale"]
        self.rows = [CriterionForm(bound, initial=row, prefix=f"criterion-{n}") for n, row in enumerate(rows)]
        self.template = str((data or initial).get("template") or "")
        self.cloned_from = str((data or initial).get("cloned_from") or "")
        self._problems: list[str] = []

    # ---- what the page needs ---------------------------------------------------------------------------------------

    @property
    def parts(self) -> list[forms.Form]:
        return [part for part in (self.answers, self.asked, *self.rows, self.work) if part is not None]

    @property
    def errors(self) -> bool:
        return bool(self._problems) or (self.is_bound and any(part.errors for part in self.parts))

    def non_field_errors(self) -> list[str]:
        found = [str(error) for part in self.parts if self.is_bound for error in part.non_field_errors()]
        return [*self._problems, *found]

    def __iter__(self) -> Iterator[BoundField]:
        for part in self.parts:
            yield from part

    @property
    def may_add(self) -> bool:
        return len(self.rows) < MAX_CRITERIA

    @property
    def asks_more(self) -> bool:
        """Whether something is set that the form folds away."""
        asked = self.asked
        names = ("reasons", "needs_reason", "write_in", "show", "has_diff")
        return any(asked[name].value() for name in names) or asked["comment"].value() != "optional"

    @property
    def has_jobs(self) -> bool:
        return self.answers is not None and self.answers.fields["jobs"].queryset.exists()  # type: ignore[attr-defined]

    def as_data(self) -> QueryDict:
        """A fresh form's fields as a browser would send them."""
        data = QueryDict(mutable=True)
        for part in self.parts:
            for bound in part:
                value = bound.initial
                if isinstance(bound.field, forms.BooleanField):
                    if value:
                        data[bound.html_name] = "on"
                elif isinstance(value, list | tuple):
                    data.setlist(bound.html_name, [str(each) for each in value])
                elif value is not None:
                    data[bound.html_name] = str(value)
        data["n_criteria"] = str(len(self.rows))
        return data

    # ---- what a view asks ------------------------------------------------------------------------------------------

    def is_valid(self) -> bool:
        return self.is_bound and all(part.is_valid() for part in self.parts) and not self._problems

    def add_problem(self, sentence: str) -> None:
        self._problems.append(sentence)

    def criteria(self) -> list[Criterion]:
        taken: set[str] = set()
        found = [row.criterion(taken) for row in self.rows if row.is_valid()]
        return [criterion for criterion in found if criterion is not None]

    def asked_options(self) -> dict[str, Any]:
        """Of a valid form: what is asked, as ``start_campaign`` takes it."""
        kind = self.kind or (self.answers.cleaned_data["kind"] if self.answers is not None else "pair")
        return self.asked.options(self.criteria(), kind=kind)

    def campaign(self) -> dict[str, Any]:
        """Arguments for ``start_campaign``."""
        assert self.answers is not None
        return {
            "name": self.work.cleaned_data["name"],
            "jobs": list(self.answers.cleaned_data["jobs"]),
            "kind": self.answers.cleaned_data["kind"],
            "pairing": self.answers.pairing(),
            "overlap": self.work.cleaned_data["overlap"],
            "options": {
                **self.asked_options(),
                **self.work.options(),
                "regression_share": self.answers.share,
                "template": self.template,
            },
        }

    def changes(self) -> dict[str, Any]:
        """Arguments for ``change_campaign``'s options."""
        asked = self.asked_options()
        del asked["chosen_is_worse"]
        given = self.work.cleaned_data
        raised = {"overlap": given["overlap"]} if "overlap" in given else {}
        return {**asked, **self.work.options(), **raised, "name": given["name"]}


def _n_rows(data: QueryDict) -> int:
    given = data.get("n_criteria", "0")
    return min(int(given), MAX_CRITERIA) if given.isdigit() else 0


def _raw(data: QueryDict, *parts: type[forms.Form], prefix: str = "") -> dict[str, Any]:
    """The fields as they were typed, to be shown again as they are."""
    found: dict[str, Any] = {}
    for part in parts:
        for name, field in part.base_fields.items():
            key = f"{prefix}{name}"
            if isinstance(field, forms.MultipleChoiceField | forms.ModelMultipleChoiceField):
                found[name] = data.getlist(key)
            elif isinstance(field, forms.BooleanField):
                found[name] = key in data
            else:
                found[name] = data.get(key, "")
    return found


def edited_rows(data: QueryDict) -> QueryDict:
    """The posted fields after the button that added or removed a criterion: rows are numbered anew."""
    asked = data.get("row", "")
    n_rows = _n_rows(data)
    names = list(CriterionForm.base_fields)
    rows = [{name: data.getlist(f"criterion-{n}-{name}") for name in names} for n in range(n_rows)]
    if asked == "add" and n_rows < MAX_CRITERIA:
        rows.append({"answer": ["compare-1-tie"], "is_higher_better": ["on"], "is_required": ["on"]})
    elif asked.startswith("remove-") and asked[7:].isdigit() and int(asked[7:]) < n_rows:
        del rows[int(asked[7:])]
    edited = data.copy()
    for n in range(n_rows):
        for name in names:
            edited.pop(f"criterion-{n}-{name}", None)
    for n, row in enumerate(rows):
        for name, values in row.items():
            if values:
                edited.setlist(f"criterion-{n}-{name}", values)
    edited["n_criteria"] = str(len(rows))
    return edited


# ---- beginnings --------------------------------------------------------------------------------------------------------


def initial_of(options: Mapping[str, Any], *, pairing: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The form's fields for options as ``start_campaign`` takes them: of a template, or of an earlier campaign."""
    protocol = Protocol.parse(options.get("protocol") or {})
    levels, tie = options.get("strength_levels") or 0, bool(options.get("allow_tie", True))
    scale = next(
        (n for n, (side, middle) in SCALES.items() if n and side == levels and middle == tie),
        next((n for n, (side, _) in SCALES.items() if n and side == levels), 0),
    )
    audience, onboarding = options.get("audience") or {}, options.get("onboarding") or {}
    direct = (
        "question", "guidelines", "allow_tie", "allow_both_good", "allow_both_bad", "chosen_is_worse", "lease_minutes",
        "cap_per_person", "cap_per_day", "pay_per_hour", "is_sensitive", "support_text", "name", "closes_at", "kind",
        "overlap", "template", "cloned_from",
    )  # fmt: skip
    found = {name: options[name] for name in direct if name in options}
    found |= {
        "scale": scale,
        "reasons": "\n".join(protocol.reasons),
        "needs_reason": protocol.needs_reason,
        "comment": protocol.comment,
        "min_comment": protocol.min_comment,
        "write_in": protocol.write_in == "optional",
        "has_flags": protocol.has_flags,
        "show": list(protocol.show),
        "has_diff": protocol.has_diff,
        "allow_rank_ties": protocol.allow_rank_ties,
        "criteria": [_row_of(criterion) for criterion in protocol.criteria],
        "regression_share": round(100 * (options.get("regression_share") or 0)),
        **{name: audience.get(name, []) for name in ("groups", "languages", "people")},
        **{name: value for name, value in onboarding.items() if name != "pass_mark"},
    }
    if onboarding.get("pass_mark"):
        found["pass_mark"] = round(100 * onboarding["pass_mark"])
    if pairing is not None:
        names = ("pairs", "baseline", "per_prompt", "max_tasks", "n_answers", "leave_out", "new", "old")
        found |= {name: pairing[name] for name in names if pairing.get(name) is not None}
        if "near" in pairing:
            found["near"] = round(100 * pairing["near"]) or None
    return found


def _row_of(criterion: Criterion) -> dict[str, Any]:
    tie = "-tie" if criterion.kind == "compare" and criterion.allow_tie else ""
    return {
        "label": criterion.label,
        "answer": f"{criterion.kind}-{criterion.levels}{tie}",
        "low": criterion.low,
        "high": criterion.high,
        "is_higher_better": criterion.is_higher_better,
        "is_required": criterion.is_required,
        "name": criterion.name,
    }
