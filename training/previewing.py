"""What a freeze would give, before anything is frozen: counts, what stays out and why, warnings, the first rows."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from accounts.models import Project
from annotation.models import Campaign
from training.formats.preference import Counts, Row
from training.rows import build
from training.selecting import read_judgements, read_policy, read_selection

ENOUGH_HOLDOUT_PROMPTS = 30
FIRST_ROWS = 5

# Why something is not in the rows: what is counted, and the words for it.
REASONS: Mapping[str, tuple[str, str]] = {
    "ties": ("judgements", "a tie: neither answer is better"),
    "both_bad": ("judgements", "both answers are bad"),
    "contradictory": ("pairs", "people disagree, and neither answer has a majority"),
    "no_majority": ("pairs", "one answer is preferred, but not by more than half of the judgements"),
    "equal_texts": ("pairs", "both answers read the same"),
    "unblinded": ("judgements", "their author could have seen which model wrote an answer"),
    "simulated": ("judgements", "by simulated people"),
    "ai": ("judgements", "by a machine"),
    "withdrawn": ("judgements", "undone by their author"),
    "voided": ("judgements", "set aside by a reviewer"),
    "other_purpose": ("judgements", "practice, repeats and reviews"),
    "retired": ("judgements", "their task was taken out of the campaign"),
    "regression": ("judgements", "new against old: they measure a model, and are neither trained on nor tested with"),
}


@dataclass(frozen=True)
class SnapshotPreview:
    """What a freeze would give now."""

    n_rows: int
    n_train: int
    n_test: int
    n_prompts: int
    n_holdout_prompts: int
    n_people: int
    n_judgements: int
    n_imported: int  # of the judgements: votes of people elsewhere
    dropped: tuple[tuple[str, int, str, str], ...]  # reason, how many, of what, in words
    agreement: float | None
    n_overlapping: int
    n_disputed: int
    first_rows: tuple[Row, ...]
    warnings: tuple[str, ...]


def preview(
    *,
    project: Project,
    campaigns: Sequence[Campaign],
    selection: Mapping[str, Any] | None = None,
    pair_policy: Mapping[str, Any] | None = None,
) -> SnapshotPreview:
    """What a freeze of these campaigns would give at this moment. Writes nothing."""
    chosen, policy = read_selection(selection or {}), read_policy(pair_policy or {})
    reading = read_judgements(project, campaigns, chosen)
    counts = Counts()
    first: list[Row] = []
    for built in build(reading.members, policy, counts):
        if len(first) < FIRST_ROWS:
            first.append(built.row)
    totals = counts_json(reading.left_out, len(reading.annotators), counts, reading.n_imported)
    return SnapshotPreview(
        n_rows=sum(counts.rows.values()),
        n_train=counts.rows["train"],
        n_test=counts.rows["test"],
        n_prompts=sum(counts.prompts.values()),
        n_holdout_prompts=counts.prompts["test"],
        n_people=len(reading.annotators),
        n_judgements=len(reading.members),
        n_imported=reading.n_imported,
        dropped=dropped_in_words(totals),
        agreement=counts.agreement,
        n_overlapping=counts.n_overlapping,
        n_disputed=counts.n_disputed,
        first_rows=tuple(first),
        warnings=warnings_of(totals),
    )


def counts_json(left_out: Mapping[str, int], n_people: int, counts: Counts, n_imported: int = 0) -> dict[str, Any]:
    found = counts.as_json()
    if n_imported:
        found["imported"] = n_imported
    dropped = Counter(found["dropped"])
    dropped.update(left_out)
    return {**found, "people": n_people, "dropped": {reason: n for reason, n in sorted(dropped.items()) if n}}


def dropped_in_words(counts: Mapping[str, Any]) -> tuple[tuple[str, int, str, str], ...]:
    dropped = counts.get("dropped", {})
    return tuple((reason, dropped[reason], *REASONS[reason]) for reason in REASONS if dropped.get(reason))


def warnings_of(counts: Mapping[str, Any]) -> tuple[str, ...]:
    """What a researcher should know before training on it."""
    rows, prompts = counts.get("rows", {}), counts.get("prompts", {})
    found = []
    if rows.get("train", 0) + rows.get("test", 0) and not rows.get("train"):
        found.append("There is no pair to train on: all of them are held out.")
    if rows.get("train") and prompts.get("test", 0) < ENOUGH_HOLDOUT_PROMPTS:
        found.append(
            f"Only {prompts.get('test', 0)} held-out prompts are judged; under {ENOUGH_HOLDOUT_PROMPTS}, what is measured on "
            "them is too uncertain for a verdict."
        )
    if n := counts.get("near_duplicates"):
        found.append(
            f"{n} held-out prompts use the same words as one that is trained on, in another order or punctuation."
        )
    return tuple(found)
