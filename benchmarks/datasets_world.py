"""One import, freeze and export after the other in a process of its own beside a migrated database; prints JSON.

python -m benchmarks.datasets_world import votes.jsonl --name x
python -m benchmarks.datasets_world freeze --name x
python -m benchmarks.datasets_world export --name x
"""

import argparse
import json
import os
import resource
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

EXPORT_FORMAT = "trl-preference"


def rss_mib() -> float:
    """Memory of this process and of those that it started, now."""
    n_pages = 0
    for pid in ("self", *Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()):
        with suppress(OSError):  # ended meanwhile
            n_pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return n_pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def cpu_seconds() -> float:
    """Of this process, and of those that it started and that have ended."""
    return sum(os.times()[:4])


@contextmanager
def measured(figures: dict[str, Any]) -> Iterator[None]:
    """When it was, seconds, the CPU of the process and its children, and how far its memory rose above what it had when it was idle."""
    idle, peak, done = rss_mib(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            peak[0] = max(peak[0], rss_mib())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    figures["began"] = time.time()
    began, cpu = time.perf_counter(), cpu_seconds()
    yield
    figures["ended"] = time.time()
    figures["seconds"] = round(time.perf_counter() - began, 2)
    figures["client_cpu_seconds"] = round(cpu_seconds() - cpu, 2)
    done.set()
    watcher.join()
    figures["idle_mib"] = round(idle, 1)
    figures["over_idle_mib"] = round(max(peak[0], rss_mib()) - idle, 1)
    figures["max_rss_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def bring(path: Path, name: str) -> dict[str, Any]:
    """Import a file of votes, checks and report included."""
    from accounts.models import Project
    from annotation.votes.job import import_now

    project, _ = Project.objects.get_or_create(slug="bench", defaults={"name": "Bench"})
    figures: dict[str, Any] = {}
    with measured(figures):
        job = import_now(project=project, path=path, name=name, by=None)
    return {**figures, "n": job.counts["votes"], "counts": job.counts}


def freeze(name: str) -> dict[str, Any]:
    """Freeze the campaign that an import made."""
    from accounts.models import Project
    from training.freezing import run_freeze, start_freeze

    project = Project.objects.get(slug="bench")
    figures: dict[str, Any] = {}
    with measured(figures):
        campaigns = list(project.campaigns.filter(name=name))
        snapshot = start_freeze(project=project, name=name, campaigns=campaigns, by=None)
        run_freeze(snapshot.pk)
    snapshot.refresh_from_db()
    if snapshot.status != "succeeded":
        raise SystemExit(snapshot.error)
    return {**figures, "n": sum(snapshot.counts["rows"].values()), "sha256": snapshot.sha256}


def export(name: str, seconds: float) -> dict[str, Any]:
    """Export a frozen dataset as JSON Lines; again and again, where it shall last for some time."""
    from django.db.models.functions import Now

    from training.exports.job import file_of, remove_old_exports, run_export, start_export
    from training.models import ExportJob, Snapshot

    snapshot = Snapshot.objects.get(project__slug="bench", name=name)
    figures: dict[str, Any] = {}
    n = 0
    with measured(figures):
        until = time.monotonic() + seconds
        while True:
            job = start_export(snapshot=snapshot, file_format=EXPORT_FORMAT, container="jsonl", by=None)
            run_export(job.pk)
            job.refresh_from_db()
            n += job.n_rows
            if time.monotonic() >= until:
                break
            ExportJob.objects.filter(pk=job.pk).update(expires_at=Now() - timedelta(seconds=1))
            remove_old_exports()  # else the next would be this one
    with file_of(job).open("rb") as file:
        if sum(1 for _ in file) != job.n_rows:
            raise SystemExit("The file has another number of rows than was told.")
    return {**figures, "n": n}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["import", "freeze", "export"])
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--name", required=True)
    parser.add_argument("--seconds", type=float, default=0, help="an export is done again and again for so long")
    given = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()
    import core.jobs

    core.jobs._send = lambda job: None  # no broker: this process does the work itself
    # What the first use of these imports weighs is the idle process's own, as it is a worker's.
    import orjson  # noqa: F401
    import pyarrow.parquet  # noqa: F401

    import training.exports.job  # noqa: F401

    if given.what == "import":
        figures = bring(given.file, given.name)
    else:
        figures = freeze(given.name) if given.what == "freeze" else export(given.name, given.seconds)
    json.dump(figures, sys.stdout)


if __name__ == "__main__":
    main()
