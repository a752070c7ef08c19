"""Rows: read, checked one by one, and left out where the model cannot use them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.ids import canonical_json
from training.recipes.frame import RecipeError, Run
from training.recipes.scoring import Messages, Row, prompt_ids


def read_rows(path: str) -> list[Row]:
    """The objects of a JSONL file. Raises RecipeError with the line's number for one that is none."""
    rows = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as problem:
                raise RecipeError(f"Line {number} of {Path(path).name} is not JSON: {problem.msg}.") from None
            if not isinstance(row, dict):
                raise RecipeError(f"Line {number} of {Path(path).name} is not an object.")
            rows.append(row)
    return rows


def read_pairs(path: str, *, name: str) -> list[Row]:
    """Preference rows (prompt, chosen, rejected as message lists, a margin where there is one), checked one by one."""
    pairs = []
    n_equal = 0
    for number, row in enumerate(read_rows(path), 1):
        for column in ("prompt", "chosen", "rejected"):
            if not _are_messages(row.get(column)):
                raise RecipeError(f"Row {number} of the {name} set has no list of messages under {column!r}.")
        n_equal += row["chosen"] == row["rejected"]
        pair = {column: row[column] for column in ("prompt", "chosen", "rejected")}
        if isinstance(row.get("margin"), (int, float)):
            pair["margin"] = float(row["margin"])
        pairs.append(pair)
    if n_equal:
        raise RecipeError(
            f"{n_equal} of {len(pairs)} pairs of the {name} set have the same answer as chosen and as rejected; "
            "freeze the dataset again without them."
        )
    return pairs


def _are_messages(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(m, dict) and isinstance(m.get("role"), str) and isinstance(m.get("content"), str) for m in value
        )
    )


def training_pairs(run: Run) -> tuple[list[Row], list[Row]]:
    """Train and held-out pairs. Raises RecipeError when there is nothing to learn from; warns of what is odd."""
    train = read_pairs(run.spec.train_file, name="training")
    if not train:
        raise RecipeError("The training set has no pairs; judge some more, then freeze the dataset again.")
    held_out = read_pairs(run.spec.test_file, name="held-out") if run.spec.test_file else []
    seen = [canonical_json([row["prompt"], row["chosen"], row["rejected"]]) for row in train]
    turned = {canonical_json([row["prompt"], row["rejected"], row["chosen"]]) for row in train}
    n_twice, n_contrary = len(seen) - len(set(seen)), sum(key in turned for key in set(seen)) // 2
    if n_twice:
        run.log(f"{n_twice} training pairs stand in the set more than once.")
    if n_contrary:
        run.log(f"{n_contrary} training pairs also stand there the other way round: people disagreed.")
    run.log(f"{len(train)} training pairs, {len(held_out)} held out.")
    if not held_out:
        run.log("There are no held-out pairs, so nothing shows whether the model overfits.")
    return train, held_out


def fitting(run: Run, rows: list[Row], tokenizer: Any, max_length: int, *, name: str) -> list[Row]:
    """The rows whose prompt leaves room for an answer within ``max_length`` tokens; others are counted and left out."""
    kept = [row for row in rows if len(prompt_ids(tokenizer, row["prompt"])) < max_length]
    if len(kept) < len(rows):
        run.log(f"{len(rows) - len(kept)} {name} pairs left out: their prompt alone fills {max_length} tokens.")
    if rows and not kept:
        raise RecipeError(
            f"Every prompt of the {name} set is longer than {max_length} tokens; "
            "raise max_length or use a model with a longer context."
        )
    return kept


def sample_prompts(rows: Sequence[Row], n: int) -> list[Messages]:
    """Up to n distinct prompts, in the order of the rows."""
    distinct = {canonical_json(row["prompt"]): row["prompt"] for row in rows}
    return list(distinct.values())[:n]
