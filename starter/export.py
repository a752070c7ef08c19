"""Write `prompts.jsonl`, the demo project's prompts: a fixed draw over all kinds, both splits as the hash has it.

python -m starter.export
"""

import json
import random
from pathlib import Path

from starter import world

HERE = Path(__file__).parent
TOTAL = 900
# A share that follows the world alone would be a third sums and opposites; people like variety.
AT_MOST = {"note": 90, "worry": 90, "howto": 110, "unsafe": 60, "opposite": 70, "sum": 55, "difference": 45}
AT_MOST_OTHER = 40


def chosen_prompts(seed: int = 1) -> list[dict[str, object]]:
    """Rows of the demo's prompt set, in the order in which the file has them."""
    rng = random.Random(seed)
    by_kind: dict[str, list[str]] = {}
    for text, item in world.prompts():
        by_kind.setdefault(item.kind, []).append(text)
    rows: list[dict[str, object]] = [
        {"prompt": text, "tags": [kind]}
        for kind, texts in sorted(by_kind.items())
        for text in rng.sample(texts, min(len(texts), AT_MOST.get(kind, AT_MOST_OTHER)))
    ]
    rng.shuffle(rows)
    return rows[:TOTAL]


def main() -> None:
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in chosen_prompts())
    (HERE / "prompts.jsonl").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
