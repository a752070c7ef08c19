"""What datasets cost: importing judged pairs, freezing them, exporting the frozen dataset. Rows a second, CPU and memory.

    python -m benchmarks.datasets                                        # 1k to 100k pairs on both databases, and what others notice
    python -m benchmarks.datasets --sizes 1000000 --databases postgres --parts rates   # other sizes keep their figures

A judged pair is a prompt of about 120 characters, two answers of about 400, and one person's vote with its order and time: ten rows.
Every import checks the whole file, writes its report, and stores in committed chunks that nobody sees before the end; no constraint
is dropped. Each step is a process of its own, as a worker is, and starts after imports of its modules. The part ``beside``
lets one person judge meanwhile: see ``benchmarks.datasets_beside``.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import datasets_beside, report
from benchmarks.judging.servers import ROOT, cpu_seconds, new_database
from tests.services.servers import Postgres

STEPS = ("import", "freeze", "export")
PARTS = ("rates", "beside")
SIZES = {"postgres": (1_000, 10_000, 100_000), "sqlite": (1_000, 10_000, 100_000)}
TARGETS = {
    "import": {"postgres": 3_000, "sqlite": 5_000},
    "freeze": 8_000,
    "export": 50_000,
    "over_idle_mib": 150,
    "beside": 1.2,
}
SETTINGS = {"max_connections": "50", "shared_buffers": "512MB", "max_wal_size": "4GB"}
WORDS = (
    "the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while", "seven", "wizards", "judge", "boxing",
    "matches", "and", "answer", "every", "question", "about", "it",
)  # fmt: skip
N_PEOPLE = 200


def write_pairs(path: Path, n: int) -> None:
    """``n`` judged pairs of texts of our own: the same seed, the same file."""
    draw = random.Random(1)

    def text(n_words: int) -> str:
        return " ".join(draw.choices(WORDS, k=n_words))

    with path.open("w", encoding="utf-8") as file:
        for number in range(n):
            answers = [
                {"model": f"Model {number % 5}", "text": f"{number} a {text(80)}"},
                {"model": f"Other {number % 7}", "text": f"{number} b {text(80)}"},
            ]
            vote = {
                "annotator": str(number % N_PEOPLE), "choice": "ab"[number % 2], "order": "ba" if number % 3 else "ab",
                "time": 1_700_000_000 + number,
            }  # fmt: skip
            row = {"prompt": f"{number} {text(24)}", "answers": answers, "votes": [vote]}
            file.write(json.dumps(row) + "\n")


class Home:
    """A migrated database with a folder for files."""

    def __init__(self, folder: Path, postgres: Postgres | None) -> None:
        self.postgres = postgres
        folder.mkdir(parents=True)
        (folder / "uploads").mkdir()
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("WHETSTONE_")} | {
            "WHETSTONE_HOME": str(folder),
            "WHETSTONE_ENV_FILE": "",
            "WHETSTONE_LOG_LEVEL": "WARNING",
            "DJANGO_SETTINGS_MODULE": "config.settings",
        }
        if postgres:
            self.environment["WHETSTONE_DATABASE_URL"] = new_database(postgres, folder.name.replace("-", "_"))
        self.run("manage.py", "migrate", "--verbosity", "0")

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments], cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
        return done.stdout

    def server_cpu(self) -> float:
        return cpu_seconds(self.postgres._process.pid) if self.postgres and self.postgres._process else 0.0

    def step(self, what: str, *arguments: str) -> dict[str, Any]:
        before = self.server_cpu()
        found: dict[str, Any] = json.loads(self.run("-m", "benchmarks.datasets_world", what, *arguments, "--name", "x"))
        if self.postgres:
            found["server_cpu_seconds"] = round(self.server_cpu() - before, 2)
        return found


def pairs_of(home: Path, n: int) -> Path:
    file = home / f"pairs-{n}.jsonl"
    if not file.exists():
        write_pairs(file, n)
    return file


def measure(home: Path, database: str, n: int, steps: list[str]) -> list[dict[str, Any]]:
    """The steps one after the other on a fresh database."""
    file = pairs_of(home, n)
    postgres = Postgres() if database == "postgres" else None
    if postgres:
        postgres.create()
        postgres.start(**SETTINGS)
    rows = []
    try:
        world = Home(home / f"{database}-{n}", postgres)
        for what in steps:
            load = round(os.getloadavg()[0], 1)
            found = world.step(what, *([str(file)] if what == "import" else []))
            row = {"step": what, "database": database, "pairs": n, **found, "load_1": load}
            row["rows_per_second"] = round(found["n"] / found["seconds"])
            row |= {"commit": report.commit(), "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
            rows.append(row)
            print(
                f"  {what} {database} {n:,}: {row['rows_per_second']:,}/s, {found['seconds']} s, CPU {found['client_cpu_seconds']} s, "
                f"+{found['over_idle_mib']} MiB, load {load}",
                flush=True,
            )
    finally:
        if postgres:
            postgres.remove()
    return rows


def kept(rows: list[dict[str, Any]], part: str) -> list[dict[str, Any]]:
    """Earlier figures of what was not measured now, with these."""
    path = report.RESULTS / "datasets.json"
    before = json.loads(path.read_text())["figures"].get(part, []) if path.exists() else []
    now = {(row["step"], row["database"], row["pairs"]) for row in rows}
    rest = [row for row in before if (row["step"], row["database"], row["pairs"]) not in now]
    return sorted([*rest, *rows], key=lambda row: (STEPS.index(row["step"]), row["database"], row["pairs"]))


def table(rows: list[dict[str, Any]]) -> str:
    return report.table(
        ["step", "database", "pairs", "rows/s", "seconds", "client CPU", "server CPU", "over idle MiB", "load"],
        [
            [
                row["step"], row["database"], f"{row['pairs']:,}", f"{row['rows_per_second']:,}", row["seconds"],
                row["client_cpu_seconds"], row.get("server_cpu_seconds", ""), row["over_idle_mib"], row["load_1"],
            ]
            for row in rows
        ],
    )  # fmt: skip


def keep(part: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Write what is measured at once: it is kept, come what may."""
    figures = {name: kept(rows if name == part else [], name) for name in ("rows", "beside")}
    report.write("datasets", {**figures, "targets": TARGETS})
    return figures


def show(figures: dict[str, Any]) -> str:
    headings = [
        "beside",
        "database",
        "pairs",
        "p50 alone",
        "p50 beside",
        "times",
        "p95 alone",
        "p95 beside",
        "times",
        "load",
    ]
    return f"{table(figures['rows'])}\n\n{report.table(headings, datasets_beside.compared(figures['beside']))}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--databases", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--sizes", nargs="+", type=int, help="judged pairs; 1,000 to 100,000 if not given")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS), help="each needs those before it")
    parser.add_argument("--beside-pairs", type=int, default=100_000, help="that are imported while somebody judges")
    parser.add_argument("--rounds", type=int, default=2, help="of each kind of work while somebody judges")
    parser.add_argument(
        "--alone", type=float, default=5, help="seconds of judging before each work that it is compared with"
    )
    given = parser.parse_args()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="whetstone-datasets-") as folder:
        home = Path(folder)
        for database in given.databases:
            for n in (given.sizes or SIZES[database]) if "rates" in given.parts else ():
                figures = keep("rows", measure(home, database, n, given.steps))
            if "beside" in given.parts:
                n = given.beside_pairs
                rows = datasets_beside.measure(
                    home, database, pairs_of(home, n), n, rounds=given.rounds, alone=given.alone
                )
                figures = keep("beside", rows)
    print(f"\n{show(figures)}\n\n{report.RESULTS / 'datasets.json'}")


if __name__ == "__main__":
    main()
