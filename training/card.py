"""The card of a frozen dataset: ``README.md`` in its directory, Markdown with the metadata block that dataset hubs read.

People appear under their pseudonyms. It holds neither the dataset's name nor a date: the same judgements frozen twice are one
directory. Nothing in it changes the dataset's hash, which is over the rows alone.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from annotation.agreement import wilson
from annotation.models import Campaign
from generation.models import PromptSet
from training.formats.ballots import SPLITS
from training.formats.files import SCHEMA, UNPAIRED, UNPAIRED_SCHEMA, name_of
from training.formats.preference import COLUMNS, UNPAIRED_COLUMNS
from training.makeup import Part
from training.models import Snapshot
from training.previewing import dropped_in_words, warnings_of

CARD = "README.md"
MOST_PEOPLE = 200
_HUB_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
MESSAGES = "list of messages, each with `role` and `content`"
_TYPES = {pa.string(): "text", pa.float64(): "number", pa.int64(): "whole number", pa.bool_(): "true or false"}
_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)


def write_card(
    directory: Path, snapshot: Snapshot, makeup: Sequence[Part], *, counts: Mapping[str, Any], sha256: str
) -> None:
    """Write ``README.md``. ``counts`` and ``sha256`` are those of the rows, which lie in the directory already."""
    campaigns = list(snapshot.campaigns.order_by("name", "key"))
    licences = _licences(makeup)
    parts = [
        "---\n" + "\n".join(_metadata(_title(campaigns), counts, licences)) + "\n---\n",
        *_what(_title(campaigns), counts, sha256),
        *_columns(counts),
        *_people(makeup, counts),
        *_protocols(makeup, campaigns),
        *_policy(snapshot, counts),
        *_limits(counts, licences),
    ]
    (directory / CARD).write_text("\n".join(parts) + "\n", encoding="utf-8", newline="\n")


# ---- the metadata block ----------------------------------------------------------------------------------------------


def _metadata(title: str, counts: Mapping[str, Any], licences: list[str]) -> Iterator[str]:
    """YAML, with every text written as JSON, which is YAML too."""
    yield f"pretty_name: {json.dumps(title, ensure_ascii=False)}"
    known = licences[0] if len(licences) == 1 else ""
    if _HUB_LICENCE.fullmatch(known.lower()):
        yield f"license: {known.lower()}"
    elif licences:
        yield "license: other"
        yield f"license_name: {json.dumps(' and '.join(licences), ensure_ascii=False)}"
    else:
        yield "license: unknown"
    n_pairs, n_unpaired = _totals(counts)
    yield f"size_categories: [{json.dumps(_size(n_pairs + n_unpaired))}]"
    methods = [method for method, n in (("dpo", n_pairs), ("kto", n_unpaired)) if n]
    yield f"tags: [preference, human-feedback, rlhf, {', '.join(methods)}, trl, whetstone]"
    yield "configs:"
    # Whoever names no configuration is given the pairs or, where there are none, the answers without a pair.
    default = "preference" if n_pairs else UNPAIRED
    for name, kind, rows in (("preference", "pair", counts["rows"]), (UNPAIRED, UNPAIRED, counts.get("unpaired", {}))):
        splits = [split for split in SPLITS if rows.get(split)]
        if not splits:
            continue
        yield f"- config_name: {name}"
        if name == default:
            yield "  default: true"
        yield "  data_files:"
        for split in splits:
            yield f"  - split: {split}"
            yield f"    path: {name_of(split, kind)}.parquet"


def _totals(counts: Mapping[str, Any]) -> tuple[int, int]:
    """How many pairs it holds, and how many answers without a pair."""
    return sum(counts["rows"].values()), sum(counts.get("unpaired", {}).values())


def _size(n: int) -> str:
    return next((name for most, name in _SIZES if n < most), "n>10M")


def _licences(makeup: Iterable[Part]) -> list[str]:
    """Of the prompt sets whose prompts were judged."""
    sets = PromptSet.objects.filter(pk__in={part.prompt_set_id for part in makeup})
    return sorted({licence for licence in sets.values_list("licence", flat=True) if licence})


# ---- what it says ----------------------------------------------------------------------------------------------------


def _what(title: str, counts: Mapping[str, Any], sha256: str) -> Iterator[str]:
    n_pairs, n_unpaired = _totals(counts)
    yield f"# {title}\n"
    yield from _of_pairs(counts) if n_pairs else _of_answers_alone(counts)
    yield "\n`test` holds the prompts that are held out from training, by group: do not train on it."
    if n_pairs and n_unpaired:
        yield f"The configuration `{UNPAIRED}` holds {n_unpaired:,} answers called both good or both bad, for KTO."
    yield f"\nSHA-256 over the canonical rows: `{sha256}`\n"
    yield '```python\nfrom datasets import load_dataset\n\nrows = load_dataset("path/to/this/directory")\n```\n'


def _of_pairs(counts: Mapping[str, Any]) -> Iterator[str]:
    rows, prompts, judgements = counts["rows"], counts["prompts"], counts["judgements"]
    yield (
        "Preferences between answers of language models, frozen by Whetstone. "
        "The rows are TRL's conversational preference format with an explicit prompt.\n"
    )
    yield "| split | rows | prompts | judgements |\n| --- | ---: | ---: | ---: |"
    for split in SPLITS:
        yield f"| {split} | {rows[split]:,} | {prompts[split]:,} | {judgements[split]:,} |"


def _of_answers_alone(counts: Mapping[str, Any]) -> Iterator[str]:
    """Without the prompts: those counted are the prompts of pairs."""
    rows, judgements = counts["unpaired"], counts["judgements"]
    yield (
        "Answers of language models that people called both good or both bad, frozen by Whetstone; it holds no pair. "
        "The rows are TRL's conversational unpaired preference format with an explicit prompt, for KTO.\n"
    )
    yield "| split | rows | judgements |\n| --- | ---: | ---: |"
    for split in SPLITS:
        yield f"| {split} | {rows[split]:,} | {judgements[split]:,} |"


def _columns(counts: Mapping[str, Any]) -> Iterator[str]:
    n_pairs, n_unpaired = _totals(counts)
    yield "## Columns\n"
    if n_pairs:
        yield from _table(SCHEMA, COLUMNS)
    if n_unpaired:
        if n_pairs:
            yield f"Of the configuration `{UNPAIRED}`:\n"
        yield from _table(UNPAIRED_SCHEMA, UNPAIRED_COLUMNS)
    yield "No column names a person or a model.\n"


def _table(schema: pa.Schema, meanings: Mapping[str, str]) -> Iterator[str]:
    yield "| column | type | meaning |\n| --- | --- | --- |"
    yield from (
        f"| `{each.name}` | {_TYPES.get(each.type, MESSAGES)} | {_cell(meanings[each.name])} |" for each in schema
    )
    yield ""


def _people(makeup: Iterable[Part], counts: Mapping[str, Any]) -> Iterator[str]:
    by_person: Counter[tuple[str, str]] = Counter()
    for part in makeup:
        by_person[part.kind, part.pseudonym] += part.n
    people = sorted((kind, -n, pseudonym) for (kind, pseudonym), n in by_person.items())
    kinds = Counter(kind for kind, *_ in people)
    yield "## Who judged\n"
    yield f"{', '.join(f'{n:,} {kind}' for kind, n in sorted(kinds.items()))}; names are pseudonyms.\n"
    yield "| annotator | kind | judgements |\n| --- | --- | ---: |"
    for kind, minus_n, pseudonym in people[:MOST_PEOPLE]:
        yield f"| {_cell(pseudonym)} | {kind} | {-minus_n:,} |"
    if len(people) > MOST_PEOPLE:
        yield f"| and {len(people) - MOST_PEOPLE:,} more | | |"
    yield ""
    meetings = counts.get("meetings", 0)
    if meetings and counts.get("agreement") is not None:
        rate = wilson(round(counts["agreement"] * meetings), meetings)
        yield (
            f"Agreement: of two judgements of one pair that each prefer an answer, {counts['agreement']:.1%} "
            f"prefer the same one (95 % interval {rate.low or 0:.1%} to {rate.high or 0:.1%}, over {meetings:,} "
            "such pairs of judgements, taken as independent).\n"
        )
    else:
        yield "Agreement: no pair was judged twice, so it is not known.\n"


def _protocols(makeup: Iterable[Part], campaigns: Iterable[Campaign]) -> Iterator[str]:
    versions: dict[int, set[tuple[int, int]]] = {}
    for part in makeup:
        versions.setdefault(part.campaign_id, set()).add((part.guidelines, part.protocol))
    yield "## What was asked\n"
    yield "| campaign | kind | question | guidelines | protocol |\n| --- | --- | --- | --- | --- |"
    for each in campaigns:
        pairs = versions.get(each.pk, set())
        guidelines = ", ".join(str(number) for number in sorted({pair[0] for pair in pairs}))
        protocol = ", ".join(str(number) for number in sorted({pair[1] for pair in pairs}))
        turned = " (people chose the worse one; turned round here)" if each.chosen_is_worse else ""
        yield f"| {_cell(each.name)} | {each.kind} | {_cell(each.question)}{turned} | {guidelines} | {protocol} |"
    yield "\nThe numbers are the versions judged under; `records.jsonl` holds the guidelines of each.\n"


def _policy(snapshot: Snapshot, counts: Mapping[str, Any]) -> Iterator[str]:
    yield "## How the rows were made\n"
    yield "Judgements become rows by this recipe; `dataset.json` explains the columns.\n"
    recipe = {"selection": snapshot.selection, "pair_policy": snapshot.pair_policy}
    yield f"```json\n{json.dumps(recipe, indent=2, sort_keys=True, ensure_ascii=False)}\n```\n"
    dropped = dropped_in_words(counts)
    if dropped:
        yield "Left out:\n"
        yield from (f"- {n:,} {unit}: {words}" for _, n, unit, words in dropped)
        yield ""
    yield (
        "To make it again: the recipe and the membership recorded at the freeze give the same bytes. In Whetstone, open the dataset and "
        "choose **Build again and compare**; `lineage.jsonl` names the judgements behind each row.\n"
    )


def _limits(counts: Mapping[str, Any], licences: list[str]) -> Iterator[str]:
    yield "## Licence and known limits\n"
    yield f"Prompts: {', '.join(licences)}." if licences else "The prompt sets name no licence."
    yield "Answers were written by language models, whose own licences may bind what is trained on them."
    lengths = counts.get("lengths")
    if lengths:
        yield (
            f"The chosen answer is the longer one in {lengths['chosen_longer']:.1%} of the rows "
            f"({lengths['chosen']:,} characters on average, against {lengths['rejected']:,})."
        )
    yield from warnings_of(counts)
    if counts.get("disputed"):
        yield f"People disagree about {counts['disputed']:,} pairs."


def _title(campaigns: Iterable[Campaign]) -> str:
    return _line("Preferences: " + ", ".join(each.name for each in campaigns))


def _line(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return _line(text).replace("\\", "\\\\").replace("|", "\\|")
