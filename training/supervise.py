"""The other side of a recipe: claims the run, starts the trainer, carries its events to the database, ends it.

The trainer is a child process that knows no database. It dies with its supervisor; a supervisor that has lost its lease
kills it. So at most one trainer works on a run at any time, and whoever claims it next goes on from its checkpoint.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import F
from django.db.models.functions import Now

from core.errors import DomainError
from core.jobs import Beat, JobStatus, beat, cancelled, claim, fail, release
from core.storage import home, verify
from generation.artifacts import ARTIFACT_KIND, inspect_model_dir, model_directory
from generation.models import ModelVersion
from training.models import MetricPoint, TrainingRun
from training.publish import publish_run, store_final
from training.run_start import DATASET_KIND
from training.specs import EXIT_CANCELLED, EXIT_DONE, EXIT_LOCKED, METHODS, Spec, parse_spec

logger = logging.getLogger(__name__)

LEASE_SECONDS = 60
BEAT_SECONDS = 2.0
LOOK_SECONDS = 0.2
FENCE_SECONDS = 1800  # without the database for so long, stop at a checkpoint
CANCEL_GRACE_SECONDS = 600  # a step of a large model, and its checkpoint
STOP_GRACE_SECONDS = 60
MOST_CRASHES = 3  # in a row, without a new step
LOG_LINES = 80
MOST_SAMPLES = 400

T = TypeVar("T")


class LeaseLost(Exception):
    """Somebody else may have this run by now; whatever we still do must not count."""


class NoDatabase(Exception):
    """The database has been out of reach for so long that somebody else must be assumed to have this run."""


def supervise_run(run_id: int) -> None:
    """Do one run to its end, or give it back. Safe to call any number of times, on any host."""
    run = TrainingRun.objects.select_related("project", "base", "snapshot", "requested_by").filter(pk=run_id).first()
    if run is None or run.status != JobStatus.QUEUED or lane_is_taken(run):
        return  # the reaper sends it again
    token = claim(run, seconds=LEASE_SECONDS)
    if token is None:
        return
    work = Supervision(run, token)
    if lane_is_taken(run):  # two were claimed in one moment
        release(run, token, note="Waits for the run before it.")
        return
    try:
        work.do()
    except LeaseLost:
        logger.warning("Run %s: the lease was lost; its trainer was stopped.", run.key)
    except NoDatabase:
        logger.error("Run %s: no database for %s seconds; its trainer was stopped.", run.key, FENCE_SECONDS)
    except (OperationalError, InterfaceError):
        # The row stands as it is; when its lease has run out the reaper sends it again, and what was trained is kept.
        logger.exception("Run %s: the database went away.", run.key)
    except DomainError as problem:
        fail(run, token, problem.words, log_tail=work.log_tail())
    except Exception as problem:
        logger.exception("Run %s: the supervisor failed.", run.key)
        fail(run, token, f"The supervisor failed: {type(problem).__name__}: {problem}"[:500], log_tail=work.log_tail())
    finally:
        work.kill()


def lane_is_taken(run: TrainingRun) -> bool:
    """Whether another run of this lane is at work: two would share one GPU, or two cores."""
    others = TrainingRun.objects.filter(lane=run.lane, status__in=[JobStatus.RUNNING, JobStatus.CANCELLING])
    return others.exclude(pk=run.pk).filter(leased_until__gte=Now()).exists()


@dataclass
class Supervision:
    """One claim of one run. ``do`` runs it; ``kill`` is safe at any time and leaves no process."""

    run: TrainingRun
    token: str
    spec: Spec = field(init=False)
    child: subprocess.Popen[str] | None = None
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=LOG_LINES))
    pending: list[dict[str, Any]] = field(default_factory=list)
    ending: dict[str, Any] = field(default_factory=dict)
    was_asked_to_stop_at: float | None = None
    _events_read: int = 0
    _beaten_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.spec = parse_spec(self.run.spec)

    @property
    def directory(self) -> Path:
        return home() / "runs" / self.run.key

    # --- the story -----------------------------------------------------------------------------------------------

    def do(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        end_stale_trainer(self.directory)
        self._tell(message="Checking the model and the dataset.")
        base, root = self.run.base, self.run.base.root
        dataset = self.run.snapshot.artifact_sha256
        self.spec = self._while_beating(lambda: locate(self.spec, base, root, dataset))
        self.spec.write(self.directory / "spec.json")
        n_crashes, best_step = 0, self.run.step
        while True:
            code = self._train()
            if code >= 0 or self._is_cancelled():
                break
            n_crashes = n_crashes + 1 if self.run.step <= best_step else 1
            best_step = max(best_step, self.run.step)
            if n_crashes >= MOST_CRASHES:
                break
            logger.warning("Run %s: the trainer was ended by signal %s; going on.", self.run.key, -code)
            self._tell(
                n_resumes=F("n_resumes") + 1,
                message="The trainer was ended from outside; going on from its checkpoint.",
            )
        self._conclude(code)

    def _conclude(self, code: int) -> None:
        step = (
            f"Stopped at step {self.run.step}; the checkpoint is kept." if self.run.step else "Stopped before it began."
        )
        if code == EXIT_DONE and self.ending.get("kind") == "done":
            stored = self._while_beating(lambda: store_final(self.directory, self.run.method))
            if publish_run(self.run, self.token, stored) is None:
                cancelled(self.run, self.token, message="Cancelled in its last moment; the model was not kept.")
        elif self._is_cancelled():
            cancelled(self.run, self.token, message=step, log_tail=self.log_tail())
        elif code == EXIT_LOCKED:
            release(self.run, self.token, note="Another trainer still holds the run's directory.")
        elif code == EXIT_CANCELLED:
            release(self.run, self.token, note="The trainer was stopped from outside; the run goes on by itself.")
        else:
            fail(self.run, self.token, self._cause(code), log_tail=self.log_tail())

    def _cause(self, code: int) -> str:
        if self.ending.get("kind") == "failed":
            return str(self.ending["error"])
        if code < 0:
            return (
                f"The trainer was ended by signal {-code} {MOST_CRASHES} times without getting further; most often the "
                "memory was not enough. Train an adapter, or lower batch_size or max_length."
            )
        last = next((line for line in reversed(self.lines) if line.strip()), "it said nothing")
        return f"The trainer could not start (exit code {code}): {last[:300]}"

    # --- the trainer ---------------------------------------------------------------------------------------------

    def _train(self) -> int:
        """Start the trainer and stay with it to its end; its exit code, negative for a signal."""
        self.ending = {}
        self.was_asked_to_stop_at = None
        # Earlier events may not have reached the database; writing them twice is harmless. Their ending is not ours.
        self._events_read = 0
        self.pending = self._new_events()
        self.child = subprocess.Popen(
            command_of(self.spec, self.directory / "spec.json"),
            stdin=subprocess.PIPE,  # never written to: its closing tells the trainer that we are gone
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment_for(self.spec),
            cwd=settings.BASE_DIR,
            start_new_session=True,
        )
        note_trainer(self.directory, self.child.pid)
        pump = threading.Thread(target=self._pump, args=(self.child,), daemon=True)
        pump.start()
        self._tell(pid=self.child.pid)
        while self.child.poll() is None:
            self._look()
            time.sleep(LOOK_SECONDS)
        pump.join(10)
        self._look()
        while not self._report():  # nothing is concluded before the row knows what there was
            continue
        return self.child.returncode

    def _pump(self, child: subprocess.Popen[str]) -> None:
        assert child.stdout is not None
        for line in child.stdout:
            self.lines.append(line.rstrip("\n")[:2000])
            with contextlib.suppress(OSError), (self.directory / "train.log").open("a", encoding="utf-8") as log:
                log.write(line)

    def _look(self) -> None:
        """Read new events; tell the database now and then; hear whether to stop."""
        events = self._new_events()
        self.pending += events
        for event in events:
            if event["kind"] in ("done", "failed", "cancelled"):
                self.ending = event
        if time.monotonic() - self._beaten_at >= BEAT_SECONDS:
            self._report()
        self._press_on_stopping()

    def _new_events(self) -> list[dict[str, Any]]:
        """Whole lines only; a torn one of a killed trainer is passed over."""
        try:
            with (self.directory / "events.jsonl").open("rb") as file:
                file.seek(self._events_read)
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._events_read += len(whole)
        found = []
        for line in whole.splitlines():
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict) and isinstance(event.get("kind"), str):
                    found.append(event)
        return found

    def _report(self) -> bool:
        """Write what is pending, under our lease. False while the database is away: training goes on, it stays pending."""
        try:
            answer = write_events(self.run, self.token, self.pending, self.log_tail())
        except (OperationalError, InterfaceError) as problem:
            logger.warning("Run %s: the database does not answer (%s); training goes on.", self.run.key, problem)
            with contextlib.suppress(DatabaseError):
                connection.close()
            if time.monotonic() - self._beaten_at > FENCE_SECONDS:
                self._ask_to_stop()
                self._wait_for_child(STOP_GRACE_SECONDS)
                raise NoDatabase from problem
            time.sleep(BEAT_SECONDS)
            return False
        self._beaten_at = time.monotonic()
        self.pending = []
        if not answer.alive:
            raise LeaseLost
        if answer.cancel:
            self._ask_to_stop()
        return True

    def _ask_to_stop(self) -> None:
        if self.was_asked_to_stop_at is None and self.child is not None and self.child.poll() is None:
            self.was_asked_to_stop_at = time.monotonic()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.child.pid, signal.SIGTERM)

    def _press_on_stopping(self) -> None:
        asked = self.was_asked_to_stop_at
        if asked is not None and time.monotonic() - asked > CANCEL_GRACE_SECONDS:
            self.kill()

    def _wait_for_child(self, seconds: float) -> None:
        if self.child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(seconds)

    def kill(self) -> None:
        """End the trainer and everything it started."""
        if self.child is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.child.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.child.wait(30)

    # --- the row ---------------------------------------------------------------------------------------------------

    def _tell(self, **columns: Any) -> Beat:
        """A beat with columns. Raises LeaseLost when the row is no longer ours."""
        answer = beat(self.run, self.token, seconds=LEASE_SECONDS, **columns)
        self._beaten_at = time.monotonic()
        if not answer.alive:
            raise LeaseLost
        return answer

    def _is_cancelled(self) -> bool:
        return self._tell().cancel

    def _while_beating(self, work: Callable[[], T]) -> T:
        """Do slow work on files (hashing gigabytes), none on the database, in a thread; keep the lease meanwhile."""
        with ThreadPoolExecutor(1) as pool:
            future: Future[T] = pool.submit(work)
            while not future.done():
                with contextlib.suppress(OperationalError, InterfaceError):
                    self._tell()
                with contextlib.suppress(TimeoutError):
                    future.result(timeout=BEAT_SECONDS)
            return future.result()

    def log_tail(self) -> str:
        return "\n".join(self.lines)


# --- events to rows --------------------------------------------------------------------------------------------------


def write_events(run: TrainingRun, token: str, events: list[dict[str, Any]], log_tail: str) -> Beat:
    """Write progress, metrics and samples in one transaction that holds only while the lease is ours."""
    columns: dict[str, Any] = {"log_tail": log_tail}
    points: dict[tuple[str, int], float] = {}
    samples = {(entry["step"], entry["prompt"]): entry["answer"] for entry in run.samples}
    for event in events:
        kind, step = event["kind"], event.get("step")
        if kind in ("steps", "metric"):
            columns |= {"step": int(step or 0), "total_steps": event.get("total_steps")}
        if kind == "metric":
            points |= {(str(name), int(step or 0)): float(value) for name, value in event["values"].items()}
        elif kind == "started":
            columns["versions"] = {**event.get("versions", {}), "device": event.get("device", "")}
        elif kind == "checkpoint":
            columns["last_checkpoint"] = str(event.get("name", ""))[:100]
        elif kind == "sample":
            samples[(int(step or 0), str(event["prompt"]))] = str(event["answer"])
        elif kind == "log":
            columns["message"] = str(event.get("message", ""))[:500]
    if "step" in columns:
        columns["message"] = _in_words(columns, points)
    kept = [{"step": step, "prompt": prompt, "answer": text} for (step, prompt), text in sorted(samples.items())]
    if kept != run.samples:
        columns["samples"] = kept[-MOST_SAMPLES:]
    with transaction.atomic():
        answer = beat(run, token, seconds=LEASE_SECONDS, **columns)
        if answer.alive and points:
            MetricPoint.objects.bulk_create(
                [MetricPoint(run=run, name=name, step=step, value=value) for (name, step), value in points.items()],
                update_conflicts=True,  # a resumed run comes past the same steps again
                unique_fields=["run", "name", "step"],
                update_fields=["value"],
            )
    if answer.alive:
        run.step = int(columns.get("step", run.step))
        run.samples = columns.get("samples", run.samples)
    return answer


def _in_words(columns: dict[str, Any], points: dict[tuple[str, int], float]) -> str:
    said = f"Step {columns['step']} of {columns['total_steps']}."
    measured = [(step, value) for (name, step), value in points.items() if name == "heldout_accuracy"]
    if measured:
        said += f" {max(measured)[1]:.0%} of the held-out pairs right."
    return said


# --- places and processes ---------------------------------------------------------------------------------------------


def locate(spec: Spec, base: ModelVersion, root: ModelVersion, dataset_sha256: str) -> Spec:
    """The spec with the places of this machine, after every input was checked by hash and by content."""
    verify(DATASET_KIND, dataset_sha256)
    for version in {root, base}:
        if version.artifact_sha256:
            verify(ARTIFACT_KIND, version.artifact_sha256)
        inspect_model_dir(Path(model_directory(version)), purpose="policy")
    adapter = model_directory(base) if base.kind == ModelVersion.Kind.ADAPTER else ""
    located: Spec = spec.located(home())
    return located.model_copy(update={"base_model": model_directory(root), "adapter": adapter})


def command_of(spec: Spec, spec_file: Path) -> list[str]:
    launcher = shlex.split(settings.WHETSTONE.training_launcher) or [sys.executable]
    method = METHODS[getattr(spec, "method")]  # noqa: B009 (the union's members have it)
    return [*launcher, "-m", method.module, str(spec_file), "--supervised"]


def environment_for(spec: Spec) -> dict[str, str]:
    """What the trainer may see: no address of the database, no secret, no hub."""
    hidden = ("SECRET", "TOKEN", "PASSWORD", "API_KEY", "DATABASE_URL", "BROKER_URL")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("WHETSTONE_", "DJANGO_", "CELERY_", "PG"))
        and not any(w in name.upper() for w in hidden)
    }
    threads = str(spec.threads)
    return kept | {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(settings.BASE_DIR),
        "PYTHONUNBUFFERED": "1",
        "PYTHONHASHSEED": "0",
    }


def note_trainer(directory: Path, pid: int) -> None:
    """Who trains here, so that the next supervisor on this host can end it even if it is stopped (SIGSTOP)."""
    note = {"pid": pid, "host": socket.gethostname(), "started": _start_time(pid)}
    with contextlib.suppress(OSError):
        (directory / "trainer.json").write_text(json.dumps(note))


def end_stale_trainer(directory: Path) -> None:
    """We hold the lease: whoever trains here lost it. The start time tells it from a later process of its number."""
    try:
        note = json.loads((directory / "trainer.json").read_bytes())
        pid, started = int(note["pid"]), note["started"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if note.get("host") == socket.gethostname() and started and started == _start_time(pid):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def _start_time(pid: int) -> str:
    """The kernel's start time of a process; empty where it is not known (no such process, not Linux)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
