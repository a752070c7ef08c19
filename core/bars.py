"""A bar that moves while a job is done at once, on the command line: its figures are the row's own."""

import threading
from collections.abc import Callable
from typing import Any

from django.db import connection
from tqdm import tqdm

from core.jobs import JobFields

LOOKS_EVERY_SECONDS = 0.3


def done_with_bar(job: JobFields, do: Callable[[], None], *, stream: Any) -> None:
    """Do a job while a bar follows its row; without a terminal at ``stream`` it is just done. The row is read again at the end.

    do  claims the job and does it; where a worker was faster it returns, and the bar follows that worker
    """
    if not stream.isatty():
        do()
    else:
        problems: list[BaseException] = []
        thread = threading.Thread(target=_caught, args=(do, problems), daemon=True)
        thread.start()
        with tqdm(unit=f" {job.unit or 'rows'}", file=getattr(stream, "_out", stream)) as bar:
            while thread.is_alive():
                thread.join(LOOKS_EVERY_SECONDS)
                _show(bar, job)
            _show(bar, job)
        if problems:
            raise problems[0]
    job.refresh_from_db()


def _caught(do: Callable[[], None], problems: list[BaseException]) -> None:
    try:
        do()
    except Exception as problem:
        problems.append(problem)
    finally:
        connection.close()  # this thread's own


def _show(bar: Any, job: JobFields) -> None:
    job.refresh_from_db(fields=["step", "total_steps", "message"])
    bar.set_description(job.message[:40], refresh=False)
    bar.total, bar.n = job.total_steps, job.step
    bar.refresh()
