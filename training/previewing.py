"""What a freeze would give, before anything is frozen: counts, what stays out and why, warnings, the first rows."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Sum

from accounts.models import Project
from annotation.models import Campaign, ComparisonTask
from core.counting import counted
from training.formats.ballots import Counts
from training.formats.preference import Row
from training.rows import Recipe, build, facts_now, read_recipe, twins_among
from training.selecting import Reading, read_members

ENOUGH_HOLDOUT_PROMPTS = 30
FIRST_ROWS = 5
ENOUGH_TO_PREVIEW = 5000  # judgements, read in about a second

# Why something is not in the rows: what is counted, and the words for it.
REASONS: Mapping[str, tuple[str, str]] = {
    "ties": ("judgements", "a tie: neither answer is better"),
    "both_bad": ("judgements", "both answers are bad"),
    "contradictory": ("pairs", "people disagree, and neither answer has a majority"),
    "no_majority": ("pairs", "one answer is preferred, but not by more than half of the judgements"),
    "circular": ("pairs", "by majority each answer beats as many others, so none is above another"),
    "equal_texts": ("pairs", "both answers read the same"),
    "unblinded": ("judgements", "their author could have seen which model wrote an answer"),
    "simulated": ("judgements", "by simulated people"),
    "ai": ("judgements", "by a machine"),
    "withdrawn": ("judgements", "undone by their author"),
    "voided": ("judgements", "set aside by a reviewer"),
    "other_purpose": ("judgements", "practice, repeats and reviews"),
    "retired": ("judgements", "their task was taken out of the campaign"),
    "erased": ("judgements", "their prompt was erased"),
    "other_tags": ("judgements", "of prompts without the tags chosen"),
    "other_days": ("judgements", "of other days"),
    "other_people": ("judgements", "of people who are not chosen"),
    "other_answers": ("judgements", "fewer than two of their answers are by the models chosen and without such flags"),
    "flagged": ("judgements", "their task is flagged"),
    "over_the_cap": ("judgements", "more than one person may give"),
    "overruled": ("judgements", "an adjudicator decided the task"),
    "unscored": ("judgements", "they do not say enough about the criteria that decide"),
    "vetoed": ("pairs", "the chosen answer is flagged, or rated too low"),
    "few_votes": ("pairs", "too few judgements"),
    "low_agreement": ("pairs", "too little agreement"),
    "weak": ("pairs", "the preference is too weak"),
    "too_long": ("pairs", "too long"),
    "alone_vetoed": ("answers without a pair", "called good, and flagged, or rated too low"),
    "alone_few_votes": ("answers without a pair", "too few judgements"),
    "alone_low_agreement": ("answers without a pair", "too little agreement"),
    "alone_too_long": ("answers without a pair", "too long"),
    "duplicates": ("pairs", "they read like another one of the prompt"),
    "near": ("pairs", "their prompt is nearly the same as another one"),
    "same_words": ("pairs", "their prompt uses the same words as another one"),
    "over_prompt_cap": ("pairs", "more than one prompt may give"),
    "regression": ("judgements", "new against old: they measure a model, and are neither trained on nor tested with"),
}


@dataclass(frozen=True)
class SnapshotPreview:
    """What a freeze would give now. Of many judgements only those of a sample of prompts are read: then the numbers are estimates."""

    n_rows: int
    n_train: int
    n_test: int
    n_prompts: int
    n_holdout_prompts: int
    n_people: int
    n_judgements: int
    n_imported: int  # of the judgements: votes of people elsewhere
    n_unpaired: int
    dropped: tuple[tuple[str, int, str, str], ...]  # reason, how many, of what, in words
    agreement: float | None
    n_overlapping: int
    n_disputed: int
    lengths: Mapping[str, float] | None  # see Counts.lengths
    first_rows: tuple[Row, ...]
    warnings: tuple[str, ...]
    share: float = 1.0  # of the prompts that were read

    @property
    def one_in(self) -> int:
        """Every how manieth prompt was read; 1 for all."""
        return round(1 / self.share)


def preview(
    *,
    project: Project,
    campaigns: Sequence[Campaign],
    selection: Mapping[str, Any] | None = None,
    pair_policy: Mapping[str, Any] | None = None,
    enough: int = ENOUGH_TO_PREVIEW,
) -> SnapshotPreview:
    """What a freeze of these campaigns would give at this moment. Writes nothing.

    enough  judgements to read about; of more campaigns' judgements, those of the prompts with the lowest hashes
    """
    campaigns, chosen, policy = read_recipe(project, campaigns, selection, pair_policy)
    share, below = _sample(campaigns, enough)
    recipe = Recipe(policy, chosen, facts_now(campaigns, chosen, policy))
    counts, reading = Counts(), Reading()
    first: list[Row] = []
    members = list(read_members(project, campaigns, chosen, reading, below=below))
    for built in build(members, recipe, counts, twins=twins_among(members, recipe)):
        if len(first) < FIRST_ROWS and built.kind == "pair":
            first.append(built.row)
    totals = _scaled(counts_json(reading.left_out, len(reading.annotators), counts, reading.n_imported), share)
    rows, prompts = totals["rows"], totals["prompts"]
    return SnapshotPreview(
        n_rows=rows["train"] + rows["test"],
        n_train=rows["train"],
        n_test=rows["test"],
        n_prompts=prompts["train"] + prompts["test"],
        n_holdout_prompts=prompts["test"],
        n_people=len(reading.annotators),
        n_judgements=_times(reading.n_members, share),
        n_imported=totals.get("imported", 0),
        n_unpaired=sum(totals.get("unpaired", {}).values()),
        dropped=dropped_in_words(totals),
        agreement=counts.agreement,
        n_overlapping=totals["overlapping"],
        n_disputed=totals["disputed"],
        lengths=counts.lengths,
        first_rows=tuple(first),
        warnings=warnings_of(totals),
        share=share,
    )


def _sample(campaigns: Sequence[Campaign], enough: int) -> tuple[float, str]:
    """(share of the prompts to read, the hash below which theirs lie); (1, "") where all are read."""
    n_judged = ComparisonTask.objects.filter(campaign__in=campaigns).aggregate(n=Sum("n_submitted"))["n"] or 0
    if n_judged <= 2 * enough:
        return 1.0, ""
    share = 1 / round(n_judged / enough)
    return share, f"{int(share * 2**32):08x}"


def _times(n: int, share: float) -> int:
    return round(n / share)


def _scaled(totals: Any, share: float) -> Any:
    """Counts of a sample as estimates of the whole. Shares and means are left as they are, and so is the number of people."""
    if share == 1.0:
        return totals
    kept = {"people", "agreement", "lengths"}

    def scale(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: scale(each) for name, each in value.items()}
        return _times(value, share) if isinstance(value, int) else value

    return {name: value if name in kept else scale(value) for name, value in totals.items()}


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
            f"Only {counted(prompts.get('test', 0), 'held-out prompt is', 'held-out prompts are')} judged; under "
            f"{ENOUGH_HOLDOUT_PROMPTS}, what is measured on them is too uncertain for a verdict."
        )
    if n := counts.get("near_duplicates"):
        found.append(
            f"{counted(n, 'held-out prompt is', 'held-out prompts are')} nearly the same as one that is trained on: four fifths of "
            "their word pairs are shared, or the words are the same in another order."
        )
    return tuple(found)
