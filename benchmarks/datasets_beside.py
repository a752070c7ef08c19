"""What others notice: one person's cycles alone, and while votes are imported, frozen and exported on the same machine.

A cycle is a judgement answered with the next task, as in ``benchmarks.annotation``; between two the person pauses, as people do.
Each time alone stands right before the work that it is compared with, so that what else the machine does meets both.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.annotation import CHOICES, OPTIONS, percentile
from benchmarks.judging.people import Measured, WhetstonePerson
from benchmarks.judging.servers import ROOT, Whetstone
from tests.services.servers import Postgres

PAUSE_SECONDS = 0.15
WORK = ("import", "freeze", "export")
N_TASKS = 20_000
EXPORTING_SECONDS = 15.0  # one export is over before a person has judged twice


@dataclass
class Cycles:
    """(when it began, seconds) of each cycle; times as ``time.time`` tells them."""

    all: list[tuple[float, float]] = field(default_factory=list)
    problems: dict[str, int] = field(default_factory=dict)

    def between(self, began: float, ended: float) -> list[float]:
        return sorted(seconds * 1000 for at, seconds in self.all if began <= at <= ended)


async def _judge(person: WhetstonePerson, cycles: Cycles, stop: asyncio.Event) -> None:
    found = Measured()
    await person.begin()
    try:
        while not stop.is_set():
            at, began = time.time(), time.perf_counter()
            if await person.cycle(found):
                cycles.all.append((at, time.perf_counter() - began))
            await asyncio.sleep(PAUSE_SECONDS)
    finally:
        cycles.problems = dict(found.problems)
        await person.close()


async def _beside(person: WhetstonePerson, command: Sequence[str], server: Whetstone, alone: float) -> dict[str, Any]:
    """Cycles for ``alone`` seconds, then while the command runs; it says itself when its work began and ended."""
    cycles, stop = Cycles(), asyncio.Event()
    judging = asyncio.create_task(_judge(person, cycles, stop))
    await asyncio.sleep(1)
    began = time.time()
    await asyncio.sleep(alone)
    ended = time.time()
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=server.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, errors = await process.communicate()
    stop.set()
    await judging
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{errors.decode()[-3000:]}")
    work = json.loads(out)
    return {
        **{f"alone_{name}": value for name, value in _figures(cycles.between(began, ended)).items()},
        **{f"beside_{name}": value for name, value in _figures(cycles.between(work["began"], work["ended"])).items()},
        "rows_per_second": round(work["n"] / work["seconds"]),
        "errors": cycles.problems,
    }


def _figures(ms: Sequence[float]) -> dict[str, Any]:
    if not ms:
        return {"n": 0, "p50_ms": None, "p95_ms": None}
    return {"n": len(ms), **{f"p{share}_ms": round(percentile(ms, share / 100), 1) for share in (50, 95)}}


def measure(home: Path, database: str, file: Path, n: int, *, rounds: int, alone: float) -> list[dict[str, Any]]:
    """Each kind of work once a round: the rows, in the order measured."""
    postgres = Postgres() if database == "postgres" else None
    if postgres:
        postgres.create()
        postgres.start(max_connections="50", shared_buffers="512MB", max_wal_size="4GB")
    rows = []
    try:
        server = Whetstone(home / f"beside-{database}-{n}", postgres, workers=1)
        (server.home / "uploads").mkdir(exist_ok=True)
        cookies = server.world("people", "--people", 1)["cookies"]
        made = ["make", "--tasks", N_TASKS, "--people", 1, "--options", json.dumps(OPTIONS)]
        campaign = server.world(*made)["campaign"]
        server.start()
        try:
            for number in range(rounds):
                for what in WORK:
                    person = WhetstonePerson(server.url, cookies[0], campaign, CHOICES)
                    given = {"import": [str(file)], "freeze": [], "export": ["--seconds", str(EXPORTING_SECONDS)]}[what]
                    command = [sys.executable, "-m", "benchmarks.datasets_world", what, *given, "--name", f"x{number}"]
                    load = round(os.getloadavg()[0], 1)
                    found = asyncio.run(_beside(person, command, server, alone))
                    rows.append(
                        {"step": what, "database": database, "pairs": n, "round": number, **found, "load_1": load}
                    )
                    print(
                        f"  beside {what} {database} {n:,}: p50 {found['alone_p50_ms']} -> {found['beside_p50_ms']} ms, "
                        f"p95 {found['alone_p95_ms']} -> {found['beside_p95_ms']} ms, load {load}",
                        flush=True,
                    )
        finally:
            server.stop()
    finally:
        if postgres:
            postgres.remove()
    return rows


def compared(rows: Sequence[dict[str, Any]]) -> list[list[object]]:
    """A line for each kind of work: the median of its rounds, and how many times as long a cycle took."""
    lines: list[list[object]] = []
    for key in dict.fromkeys((row["step"], row["database"], row["pairs"]) for row in rows):
        mine = [row for row in rows if (row["step"], row["database"], row["pairs"]) == key and row["beside_n"]]
        if not mine:
            continue
        line: list[object] = [key[0], key[1], f"{key[2]:,}"]
        for share in ("p50_ms", "p95_ms"):
            alone, beside = (statistics.median(row[f"{when}_{share}"] for row in mine) for when in ("alone", "beside"))
            line += [round(alone, 1), round(beside, 1), round(beside / alone, 2)]
        lines.append([*line, max(row["load_1"] for row in mine)])
    return lines
