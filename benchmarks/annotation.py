"""What judging costs: cycles a second, waiting times, processor time, and the weight and speed of the page.

    python -m benchmarks.annotation --label-studio ~/ls/bin/python        # everything as reported, a quarter of an hour
    python -m benchmarks.annotation --parts size --databases sqlite       # one part; the others keep their figures

A cycle is the page's own POST of a judgement, answered with the next task's HTML, with everything switched on: events, audit,
caps, work time, guidelines, leases. People send it again as soon as they have the answer. For Label Studio a cycle is its
editor's two calls: submit the annotation of a pairwise project, ask for the next task. Both sides have the same texts, the same
PostgreSQL, the same client, and take turns, so that what else happens on the machine meets both.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.judging.browser import weigh
from benchmarks.judging.people import LabelStudioPerson, Measured, Person, WhetstonePerson, drive
from benchmarks.judging.servers import LABEL_CONFIG, LabelStudio, Whetstone
from benchmarks.judging.texts import ANSWERS, PROMPTS
from loop.processes import web_workers
from tests.services.servers import Postgres

PARTS = ("reference", "size", "done", "page")
PEOPLE = {"postgres": (1, 8, 32, 128), "sqlite": (1, 8, 32)}
SIZES = {"postgres": (1_000, 100_000, 1_000_000), "sqlite": (1_000, 100_000)}
REFERENCE_PEOPLE, REFERENCE_TASKS = (1, 8, 32), 20_000
DONE, DONE_TASKS = (1_000, 10_000, 25_000, 45_000), 50_000
OPTIONS = {"cap_per_day": 100_000, "cap_per_person": 1_000_000, "guidelines": "Prefer the answer that helps more."}
CHOICES = ("a", "b", "tie", "b", "a")
TARGETS = {"cycles": 10, "cycles_aim": 15, "cpu": 6, "cpu_aim": 10}
SETTINGS = {"max_connections": "200", "shared_buffers": "512MB"}


def percentile(sorted_values: Sequence[float], share: float) -> float:
    return sorted_values[min(len(sorted_values) - 1, int(share * len(sorted_values)))]


def row_of(found: Measured, **more: Any) -> dict[str, Any]:
    """The figures of one measurement. CPU is of all cores together, user and system, for each cycle."""
    ms = sorted(latency * 1000 for latency in found.latencies)
    if not ms:
        raise SystemExit(f"Not one cycle in {found.seconds} s: {dict(found.problems)}")
    n = len(ms)
    return {
        **more,
        "cycles_per_second": round(n / found.seconds, 2),
        "n_cycles": n,
        **{f"p{share}_ms": round(percentile(ms, share / 100), 1) for share in (50, 95, 99)},
        "web_cpu_ms": round(found.web_cpu * 1000 / n, 2),
        "database_cpu_ms": round(found.database_cpu * 1000 / n, 2),
        "server_cpu_ms": round((found.web_cpu + found.database_cpu) * 1000 / n, 2),
        "client_cpu_ms": round(found.client_cpu * 1000 / n, 2),
        "kb": round(found.n_bytes / n / 1000, 1),
        "errors": dict(found.problems),
        "n_kept": found.n_done,
    }


def load() -> dict[str, Any]:
    """What else the machine was doing: figures of a busy machine are to be read with care."""
    one, five, _ = os.getloadavg()
    return {"load_1": round(one, 1), "load_5": round(five, 1), "n_cores": os.cpu_count()}


def say(row: dict[str, Any], *names: str) -> None:
    what = ", ".join(f"{name} {row[name]}" for name in names)
    print(
        f"  {what}: {row['cycles_per_second']:.1f}/s, p50 {row['p50_ms']} p99 {row['p99_ms']} ms, "
        f"server CPU {row['server_cpu_ms']} ms {row['errors'] or ''}",
        flush=True,
    )


def judge(server: Whetstone, cookies: list[dict[str, str]], campaign: str, n_people: int, seconds: float) -> Measured:
    people: list[Person] = [WhetstonePerson(server.url, cookies[i], campaign, CHOICES) for i in range(n_people)]
    return asyncio.run(drive(people, server.cpu, seconds))


def checked(server: Whetstone, campaign: str, n_kept: int) -> dict[str, int]:
    """The questions of ``world.check``, with what the client was told compared to what is stored."""
    found: dict[str, int] = server.world("check", "--campaign", campaign)
    return {"told but not kept": n_kept - found["n_submitted"], **found}


def is_clean(check: dict[str, int]) -> bool:
    return not any(n for name, n in check.items() if not name.startswith("n_"))


# ---- side by side ------------------------------------------------------------------------------------------------------


def reference(home: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Label Studio and Whetstone in turns, on one PostgreSQL, as many tasks, at 1, 8 and 32 people."""
    postgres = Postgres()
    postgres.create()
    postgres.start(**SETTINGS)
    most = max(given.reference_people)
    try:
        theirs = LabelStudio(home / "label_studio", postgres, Path(given.label_studio))
        texts = home / "texts.json"
        texts.write_text(json.dumps({"label_config": LABEL_CONFIG, "prompts": PROMPTS, "answers": ANSWERS}))
        their_world = theirs.world("make", REFERENCE_TASKS, most, texts)
        ours = Whetstone(home / "whetstone", postgres, workers=given.workers)
        our_people = ours.world("people", "--people", most)["cookies"]
        made = ["make", "--tasks", REFERENCE_TASKS, "--people", most, "--options", json.dumps(OPTIONS)]
        campaign = ours.world(*made)["campaign"]
        version = theirs.version()
        theirs.start()
        ours.start()
        rows: list[dict[str, Any]] = []
        n_kept = {"Label Studio": 0, "Whetstone": 0}
        for n_people in given.reference_people:
            for turn in range(given.rounds):
                sides = ["Label Studio", "Whetstone"]
                for side in sides if turn % 2 == 0 else reversed(sides):
                    before = load()
                    if side == "Whetstone":
                        found = judge(ours, our_people, campaign, n_people, given.seconds)
                    else:
                        people: list[Person] = [
                            LabelStudioPerson(theirs.url, their_world["cookies"][i], their_world["project"])
                            for i in range(n_people)
                        ]
                        found = asyncio.run(drive(people, theirs.cpu, given.seconds * 2))
                    n_kept[side] += found.n_done
                    row = row_of(found, side=side, people=n_people, round=turn + 1, load=before)
                    for name, values in found.parts.items():
                        row[f"{name}_p50_ms"] = round(statistics.median(values) * 1000, 1)
                    rows.append(row)
                    say(row, "side", "people")
        checks = {
            "Whetstone": checked(ours, campaign, n_kept["Whetstone"]),
            "Label Studio": theirs.world("check", their_world["project"]),
        }
        theirs.stop()
        ours.stop()
    finally:
        postgres.remove()
    return {
        "label_studio": version,
        "n_tasks": REFERENCE_TASKS,
        "compared": [compared(rows, n_people) for n_people in given.reference_people],
        "rows": rows,
        "checks": checks,
        "targets": TARGETS,
    }


def compared(rows: Sequence[dict[str, Any]], n_people: int) -> dict[str, Any]:
    """Ratios of neighbours in time, their median and spread."""
    of = {
        side: [row for row in rows if row["people"] == n_people and row["side"] == side]
        for side in ("Whetstone", "Label Studio")
    }
    pairs = list(zip(of["Whetstone"], of["Label Studio"], strict=True))
    quicker = [ours["cycles_per_second"] / theirs["cycles_per_second"] for ours, theirs in pairs]
    lighter = [theirs["server_cpu_ms"] / ours["server_cpu_ms"] for ours, theirs in pairs]
    return {
        "people": n_people,
        "times_the_cycles": spread(quicker),
        "times_less_cpu": spread(lighter),
        **{
            f"{name}_{key}": round(statistics.median(row[key] for row in of[side]), 2)
            for side, name in (("Whetstone", "our"), ("Label Studio", "their"))
            for key in ("cycles_per_second", "p50_ms", "p99_ms", "server_cpu_ms")
        },
    }


def spread(values: Sequence[float], digits: int = 2) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), digits),
        "lowest": round(min(values), digits),
        "highest": round(max(values), digits),
        "n": len(values),
    }


# ---- sizes -------------------------------------------------------------------------------------------------------------


def size(home: Path, given: argparse.Namespace) -> dict[str, Any]:
    """People times tasks on both databases."""
    rows, checks = [], {}
    for database in given.databases:
        postgres = Postgres() if database == "postgres" else None
        if postgres:
            postgres.create()
            postgres.start(**SETTINGS)
        try:
            n_most = max(PEOPLE[database])
            server = Whetstone(home / database, postgres, workers=given.workers if postgres else 1)
            cookies = server.world("people", "--people", n_most)["cookies"]
            server.start()
            for n_tasks in SIZES[database]:
                if n_tasks > given.most_tasks:
                    continue
                # A million pairs are ten of each prompt's five answers; the smaller campaigns ask each prompt once.
                n_answers = 5 if n_tasks >= 1_000_000 else 2
                began = time.monotonic()
                made = ["make", "--tasks", n_tasks, "--overlap", 5, "--answers", n_answers, "--people", n_most]
                campaign = server.world(*made, "--options", json.dumps(OPTIONS))["campaign"]
                print(f"  {n_tasks:,} tasks made in {time.monotonic() - began:.0f} s", flush=True)
                n_kept = 0
                for n_people in PEOPLE[database]:
                    before = load()
                    found = judge(server, cookies, campaign, n_people, given.seconds)
                    n_kept += found.n_done
                    rows.append(row_of(found, database=database, tasks=n_tasks, people=n_people, load=before))
                    say(rows[-1], "database", "tasks", "people")
                checks[f"{database}, {n_tasks} tasks"] = checked(server, campaign, n_kept)
            server.stop()
        finally:
            if postgres:
                postgres.remove()
    return {"overlap": 5, "rows": rows, "checks": checks}


# ---- what a person has done --------------------------------------------------------------------------------------------


def done(home: Path, given: argparse.Namespace) -> dict[str, Any]:
    """One person's cycles in 50,000 tasks at overlap 5, with more and more of them judged by that person."""
    postgres = Postgres()
    postgres.create()
    postgres.start(**SETTINGS)
    rows = []
    try:
        server = Whetstone(home / "done", postgres, workers=1)
        cookies = server.world("people", "--people", 1)["cookies"]
        made = ["make", "--tasks", DONE_TASKS, "--overlap", 5, "--people", 1, "--options", json.dumps(OPTIONS)]
        campaign = server.world(*made)["campaign"]
        server.start()
        judge(server, cookies, campaign, 1, 1.0)
        for n_done in DONE:
            server.world("work", "--campaign", campaign, "--done", n_done)
            before = load()
            found = judge(server, cookies, campaign, 1, given.seconds)
            rows.append(row_of(found, done=n_done, load=before))
            say(rows[-1], "done")
        check = server.world("check", "--campaign", campaign)
        server.stop()
    finally:
        postgres.remove()
    return {"n_tasks": DONE_TASKS, "overlap": 5, "rows": rows, "checks": {"one person": check}}


# ---- the page ----------------------------------------------------------------------------------------------------------


def page(home: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Weight and speed of the annotate page in Chromium, without and with maths in the text."""
    server = Whetstone(home / "page", None, workers=1)
    cookies = server.world("people", "--people", 1)["cookies"]
    plain = server.world("make", "--tasks", 200, "--people", 1, "--options", json.dumps(OPTIONS))["campaign"]
    maths = server.world("make", "--tasks", 200, "--people", 1, "--options", json.dumps(OPTIONS), "--maths")["campaign"]
    server.start()
    try:
        return {
            name: weigh(server.url, cookies[0], campaign, n_visits=given.visits)
            for name, campaign in (("plain", plain), ("maths", maths))
        } | {"load": load()}
    finally:
        server.stop()


# ---- all together ------------------------------------------------------------------------------------------------------


def show(figures: dict[str, Any]) -> str:
    tables = []
    if "reference" in figures:
        rows = [
            [
                row["people"],
                row["our_cycles_per_second"],
                row["their_cycles_per_second"],
                *(f"{row[name]['median']} ({row[name]['lowest']} to {row[name]['highest']})" for name in (
                    "times_the_cycles", "times_less_cpu"
                )),
                row["our_server_cpu_ms"],
                row["their_server_cpu_ms"],
            ]
            for row in figures["reference"]["compared"]
        ]  # fmt: skip
        headings = ["people", "cycles/s", "Label Studio", "times", "times less CPU", "CPU ms", "Label Studio"]
        tables.append(report.table(headings, rows))
    for part, names in (("size", ["database", "tasks", "people"]), ("done", ["done"])):
        if part in figures:
            keys = ["cycles_per_second", "p50_ms", "p95_ms", "p99_ms", "web_cpu_ms", "database_cpu_ms", "client_cpu_ms"]
            rows = [[row[key] for key in [*names, *keys]] for row in figures[part]["rows"]]
            tables.append(report.table([*names, *(key.replace("_", " ") for key in keys)], rows))
    if "page" in figures:
        keys = ["kb", "requests", "first_paint_ms", "next_task_ms"]
        rows = [[name, *(figures["page"][name][key] for key in keys)] for name in ("plain", "maths")]
        tables.append(report.table(["page", *keys], rows))
    return "\n\n".join(tables)


def wrong(figures: dict[str, Any]) -> list[str]:
    """Every error and every wrong assignment of our own side."""
    found = []
    for part in ("reference", "size", "done"):
        for name, check in figures.get(part, {}).get("checks", {}).items():
            if name != "Label Studio" and not is_clean(check):
                found.append(f"{part}, {name}: {check}")
        for row in figures.get(part, {}).get("rows", []):
            if row["errors"] and row.get("side") != "Label Studio":
                found.append(f"{part}, {row.get('people', 1)} people: {row['errors']}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="all, the reference only with Label Studio")
    parser.add_argument("--label-studio", default="", help="the Python that Label Studio 1.23 is installed beside")
    parser.add_argument("--databases", nargs="+", choices=list(PEOPLE), default=list(PEOPLE))
    parser.add_argument("--most-tasks", type=int, default=1_000_000)
    parser.add_argument("--reference-people", type=int, nargs="+", default=list(REFERENCE_PEOPLE))
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement; twice as long for Label Studio")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each side")
    parser.add_argument("--workers", type=int, default=web_workers("postgresql"), help="web processes on PostgreSQL")
    parser.add_argument("--visits", type=int, default=5, help="of the page, each by a fresh browser profile")
    parser.add_argument("--name", default="annotation", help="of the results file")
    given = parser.parse_args()
    given.parts = given.parts or [part for part in PARTS if part != "reference" or given.label_studio]
    if "reference" in given.parts and not given.label_studio:
        parser.error("--label-studio is missing: python -m venv ls && ls/bin/pip install 'label-studio==1.23.*' uwsgi")
    path = report.RESULTS / f"{given.name}.json"
    figures = json.loads(path.read_text(encoding="utf-8"))["figures"] if path.exists() else {}
    steps = {"reference": reference, "size": size, "done": done, "page": page}
    for part in PARTS:
        if part in given.parts:
            print(f"{part}:", flush=True)
            with tempfile.TemporaryDirectory(prefix="whetstone-bench-") as folder:
                found = steps[part](Path(folder), given)
            stamp = {"commit": report.commit(), "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
            figures[part] = {**found, **stamp}
            settings = {name: value for name, value in vars(given).items() if name != "label_studio"}
            if given.label_studio:  # a path of this machine says nothing to others
                sys.argv[sys.argv.index(given.label_studio)] = "PYTHON"
                given.label_studio, settings["label_studio"] = given.label_studio, True
            report.write(given.name, figures, settings=settings)
            sys.argv = [given.label_studio if each == "PYTHON" else each for each in sys.argv]
    print(show(figures))
    for sentence in wrong(figures):
        print(f"WRONG: {sentence}")
    print(f"written to {path.relative_to(report.ROOT)}")


if __name__ == "__main__":
    main()
