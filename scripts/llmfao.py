"""Turn the three files of LLMFAO's crowd study into Whetstone's votes JSONL.

    python scripts/llmfao.py FOLDER > llmfao.jsonl

FOLDER holds ``pairs-crowd.jsonl`` (prompts and pairs of answers), ``crowd-comparisons.csv`` (who said what about which
pair, and what stood on which side) and ``models.jsonl`` (names). One pair becomes one line with all of its votes; answer a
is the pair's model_x, b its model_y. A pair keeps its id, a prompt its slug, type and note.
Data: Dmitry Ustalov, CC BY 4.0; prompts, models and results by llmonitor.com.
"""

import csv
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def lines_of(folder: Path) -> Iterator[dict[str, Any]]:
    models = {row["id"]: row["name"] for row in _jsonl(folder / "models.jsonl")}
    votes = defaultdict(list)
    with (folder / "crowd-comparisons.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            votes[int(row["id"])].append(row)
    for pair in _jsonl(folder / "pairs-crowd.jsonl"):
        first, second = models[pair["model_x"]], models[pair["model_y"]]
        yield {
            "id": pair["id"],
            "prompt": pair["text"],
            "group": pair["slug"],
            "tags": [pair["type"]],
            "note": pair["note"] or "",
            "language": "en",
            "answers": [
                {"model": first, "text": pair["result_x"]},
                {"model": second, "text": pair["result_y"]},
            ],
            "votes": [_vote(row, first) for row in votes[pair["id"]]],
        }


def _vote(row: dict[str, str], first: str) -> dict[str, str]:
    """``left`` and ``right`` are sides of the screen, so who won depends on which answer stood there."""
    order = "ab" if row["left"] == first else "ba"
    side = {"left": order[0], "right": order[1], "tie": "tie"}
    return {"annotator": row["worker"], "choice": side[row["winner"]], "order": order}


def _jsonl(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from (json.loads(line) for line in file)


if __name__ == "__main__":
    for line in lines_of(Path(sys.argv[1])):
        print(json.dumps(line, ensure_ascii=False))
