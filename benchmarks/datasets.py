"""What datasets cost: importing judged pairs, freezing them, exporting the frozen dataset. Rows a second, CPU and memory.

    python -m benchmarks.datasets                                        # 1k to 100k pairs on both databases
    python -m benchmarks.datasets --sizes 1000000 --databases postgres   # other sizes keep their figures

A judged pair is a prompt of about 120 characters, two answers of about 400, and one person's vote with its order and time: ten rows.
Every import checks the whole file, writes its report, and stores in committed chunks that nobody sees before the end; no constraint
is dropped. Each step is a process of its own, as a worker is, and starts after imports of its modules.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.judging.servers import ROOT, cpu_seconds, new_database
from tests.services.servers import Postgres

STEPS = ("import", "freeze", "export")
SIZES = {"postgres": (1_000, 10_000, 100_000), "sqlite": (1_000, 10_000, 100_000)}
TARGETS = {"import": {"postgres": 3_000, "sqlite": 5_000}, "freeze": 8_000, "export": 50_000, "over_idle_mib": 150}
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


def measure(home: Path, database: str, n: int, steps: list[str]) -> list[dict[str, Any]]:
    """The steps one after the other on a fresh database."""
    file = home / f"pairs-{n}.jsonl"
    if not file.exists():
        write_pairs(file, n)
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


def kept(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Earlier figures of what was not measured now, with these."""
    path = report.RESULTS / "datasets.json"
    before = json.loads(path.read_text())["figures"]["rows"] if path.exists() else []
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--databases", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--sizes", nargs="+", type=int, help="judged pairs; 1,000 to 100,000 if not given")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS), help="each needs those before it")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="whetstone-datasets-") as folder:
        for database in given.databases:
            for n in given.sizes or SIZES[database]:
                rows = kept(measure(Path(folder), database, n, given.steps))
                path = report.write(
                    "datasets", {"rows": rows, "targets": TARGETS}
                )  # what is measured is kept, come what may
    print(f"\n{table(rows)}\n\n{path}")


if __name__ == "__main__":
    main()
