"""Write docs/reference/export-formats.md from training/exports/formats.py; --check only says whether it is current."""

import sys
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts.pages import keep  # noqa: E402
from training.exports.containers import CONTAINERS  # noqa: E402
from training.exports.formats import FORMATS, Format  # noqa: E402

REFERENCE = ROOT / "docs" / "reference" / "export-formats.md"
NEEDS = {"": "", "details": "with further columns", "models": "with models named", "people": "with annotators named"}
INTRODUCTION = """# Export formats

<!-- Written from training/exports/formats.py by `make docs`; changes belong there. -->

What a frozen dataset can be [exported](../how-to/export-a-dataset.md) as. An export is made from the frozen files alone, so the same
dataset, format and options give the same rows for ever. Models and annotators are named only where that was asked for: otherwise
their columns are left out, or hold model-1, model-2 … and person-1, person-2 … in the order in which they come up in the file.

Plain text is a transcript: each turn after a blank line with its speaker (`\\n\\nHuman: …\\n\\nAssistant: …`; a system message is a turn of
`System`), the prompt up to `Assistant:`, the answer after a space.
"""


def page() -> str:
    parts = [INTRODUCTION, _containers()]
    for group, formats in groupby(FORMATS, key=lambda each: each.group):
        parts.append(f"## {group}\n")
        parts += [_of(each) for each in formats]
    return "\n".join(parts)


def _containers() -> str:
    rows = [f"| {each.label} | `.{each.ending}` |" for each in CONTAINERS.values()]
    return "\n".join(
        [
            "| written as | ending |",
            "| --- | --- |",
            *rows,
            "",
            "CSV has a line of names, ends lines with CR LF, and writes lists and objects as JSON.",
            "*Exact*: every text is quoted and stands byte for byte, an empty cell is null.",
            "*Safe*: besides, a text that a spreadsheet could take for a formula begins with an apostrophe",
            "(texts that begin with `=`, `+`, `-`, `@`, a tab or a line end). It is for looking, not for training.",
            "",
        ]
    )


def _of(each: Format) -> str:
    ways = "; ".join(
        CONTAINERS[name].label.split(":")[0] if name in CONTAINERS else "one zip, stored" for name in each.containers
    )
    lines = [f"### {each.label}", "", f"`{each.name}` · for {each.reads} · one row: {each.one_row} · {ways}", ""]
    if each.columns:
        lines += ["| column | holds |", "| --- | --- |"]
        for column in each.columns:
            needs = f" ({NEEDS[column.needs]})" if column.needs else ""
            lines.append(f"| `{column.name}` | {column.words}{needs} |")
    else:
        lines.append("The keys are those of the [full format](votes.md#the-full-format).")
    lines += ["", f"It cannot carry: {'; '.join(each.cannot)}.", "", f"Comes back as {each.back}.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(keep(REFERENCE, page()))
