"""Write the measured figures of ``benchmarks/results`` into the pages that quote them.

A page quotes a benchmark between ``<!-- figures:NAME -->`` and ``<!-- /figures -->``. With ``--check`` nothing is written, and a page
whose figures are not those of the results makes the script fail.
"""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PAGES = ("README.md",)
BLOCK = re.compile(r"(<!-- figures:(\w+) -->\n).*?(<!-- /figures -->)", re.DOTALL)


def markdown_table(headings: list[str], rows: list[list[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def origin(result: dict[str, Any]) -> str:
    """What it takes to judge the figures: machine, commit, command."""
    machine = result["machine"]
    where = f"{machine['n_cores']} cores of {machine['processor']}, {machine['memory_gib']:.0f} GiB, no GPU"
    return f"Measured {result['measured_at'][:10]} on {where}, commit `{result['commit']}`, by `{result['command']}`."


def interval(of: dict[str, float]) -> str:
    return f"{of['win_rate']:.2f} [{of['low']:.2f}, {of['high']:.2f}]"


def loop(result: dict[str, Any]) -> str:
    figures = result["figures"]
    shares = ("acceptable", "polite", "rude")
    rows = [["start", "–", "–", *(f"{figures['start'][name]:.2f}" for name in shares), "–"]]
    for row in figures["rounds"]:
        wins = [interval(row["against_start"]), interval(row["against_previous"])]
        rows.append(
            [str(row["round"]), *wins, *(f"{row[name]:.2f}" for name in shares), f"{row['seconds']['round']:.0f}"]
        )
    headings = [
        "round",
        "win rate against the start",
        "against the round before",
        "acceptable",
        "polite",
        "rude",
        "seconds",
    ]
    n_seeds, n_judgements = figures["rounds"][0]["n_seeds"], result["settings"]["pairs"]
    note = (
        f"{n_seeds} seed{'s' if n_seeds > 1 else ''}, {n_judgements} judgements a round, "
        f"{figures['n_held_out_prompts']} held-out prompts; ties count half, "
        "intervals (95 %) resample prompts. Taking the best of 4 answers of the start model by the judge itself wins "
        f"{interval(figures['best_of_4_oracle'])}."
    )
    return f"{markdown_table(headings, rows)}\n\n{note} {origin(result)}"


def pipeline(result: dict[str, Any]) -> str:
    headings = ["requests at once", "ms an answer", "straight to vLLM, tokens/s", "through the app, tokens/s", "ratio"]
    rows = []
    for row in result["figures"]["rows"]:
        speeds = [f"{row[name]['median']:,.0f}" for name in ("bare_tokens_per_second", "app_tokens_per_second")]
        ratio = f"{row['ratio']['median']:.2f} ({row['ratio']['lowest']:.2f} to {row['ratio']['highest']:.2f})"
        rows.append([str(row["concurrency"]), f"{row['latency_ms']:.0f}", *speeds, ratio])
    return f"{markdown_table(headings, rows)}\n\n{origin(result)}"


def annotation(result: dict[str, Any]) -> str:
    found = result["figures"]["reference"]
    headings = ["people", "cycles/s", "Label Studio", "times as many", "server CPU ms", "Label Studio", "times less"]
    rows = []
    for row in found["compared"]:
        times, less = (
            f"{row[name]['median']:.1f} ({row[name]['lowest']:.1f} to {row[name]['highest']:.1f})"
            for name in ("times_the_cycles", "times_less_cpu")
        )
        cycles = [f"{row[f'{side}_cycles_per_second']:.1f}" for side in ("our", "their")]
        cpu = [f"{row[f'{side}_server_cpu_ms']:.0f}" for side in ("our", "their")]
        rows.append([str(row["people"]), *cycles, times, *cpu, less])
    loads = [row["load"]["load_1"] for row in found["rows"]]
    note = (
        f"A cycle is a judgement and the next task; Label Studio {found['label_studio']} and Whetstone in turns on one PostgreSQL, "
        f"{found['n_tasks']:,} tasks, {found['compared'][0]['times_the_cycles']['n']} turns of each. The load of the machine stood at "
        f"{min(loads):.0f} to {max(loads):.0f}, so only the ratios say anything ([methods](docs/methods.md#what-a-judgement-costs))."
    )
    return f"{markdown_table(headings, rows)}\n\n{note} {origin({**result, **{k: found[k] for k in ('commit', 'measured_at')}})}"


def datasets(result: dict[str, Any]) -> str:
    rows = result["figures"]["rows"]
    by_step = {(row["step"], row["database"], row["pairs"]): row for row in rows}
    steps = [(step, database) for step in ("import", "freeze", "export") for database in ("postgres", "sqlite")]

    def line(n: int) -> list[str]:
        found = [by_step.get((*each, n)) for each in steps]
        most = max(row["over_idle_mib"] for row in found if row)
        return [f"{n:,}", *(f"{row['rows_per_second']:,}" if row else "–" for row in found), f"{most:.0f} MiB"]

    headings = [
        "judged pairs",
        "import, PostgreSQL",
        "SQLite",
        "freeze, PostgreSQL",
        "SQLite",
        "JSONL export, PostgreSQL",
        "SQLite",
        "memory over idle",
    ]
    table = markdown_table(headings, [line(n) for n in sorted({row["pairs"] for row in rows})])
    note = "Rows a second; a judged pair is ten rows of the database, and its import checks and reports every line."
    # Sizes are measured one by one: each row says by which commit.
    commits = "`, `".join(sorted({row["commit"] for row in rows}))
    own = {
        "command": "python -m benchmarks.datasets",
        "commit": commits,
        "measured_at": max(r["measured_at"] for r in rows),
    }
    return f"{table}\n\n{note} {origin(result | own)}"


WRITERS: dict[str, Callable[[dict[str, Any]], str]] = {
    "loop": loop,
    "pipeline": pipeline,
    "annotation": annotation,
    "datasets": datasets,
}


def with_figures(text: str) -> str:
    """The page with every block of figures written anew."""

    def block(match: re.Match[str]) -> str:
        name = match.group(2)
        result = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        return f"{match.group(1)}{WRITERS[name](result)}\n{match.group(3)}"

    return BLOCK.sub(block, text)


def main(arguments: list[str]) -> int:
    stale = []
    for name in PAGES:
        page = ROOT / name
        text = page.read_text(encoding="utf-8")
        if (fresh := with_figures(text)) != text:
            stale.append(name)
            if "--check" not in arguments:
                page.write_text(fresh, encoding="utf-8")
    if stale and "--check" in arguments:
        print(f"The figures in {', '.join(stale)} are not those of benchmarks/results. Run: make docs")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
