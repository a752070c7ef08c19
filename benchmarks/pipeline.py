"""What a generation job costs: tokens a second through the app against the same requests sent straight to the same vLLM.

    python -m benchmarks.pipeline                    # starter model, a vLLM of its own, about a quarter of an hour
    python -m benchmarks.pipeline --pairs 3 --answers 400

Both sides use the same client, prompts, seeds-per-answer, sampling and number of requests at a time. The bare side throws
the answers away. The app's side is a real job: started by the service, taken from the real queue by a real Celery worker,
stored in SQLite with synchronous=FULL; its clock runs from the start of the call to the end that is written in the job's
row, which is looked at seldom: looking burns what the engine lacks. They take turns (bare, app, app, bare, ...), so that
what else happens on the machine meets both.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CONCURRENCY = (8, 32, 64)
LONG_MS = 200.0
WATCH_SECONDS = 0.2
TARGETS = {"short": 0.90, "long": 0.95}


def prepare(home: Path) -> None:
    os.environ |= {
        "WHETSTONE_HOME": str(home),
        "WHETSTONE_ENV_FILE": "",
        "WHETSTONE_LOG_LEVEL": "WARNING",
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    os.environ.pop("WHETSTONE_DATABASE_URL", None)
    os.environ.pop("WHETSTONE_BROKER_URL", None)
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def make_world(base_url: str) -> Any:
    from accounts.models import Project
    from generation.models import Deployment, Endpoint
    from generation.prompt_importing import import_now
    from generation.registry import register_base

    project = Project.objects.create(slug="bench", name="Bench")
    import_now(project=project, name="prompts", path=ROOT / "starter" / "prompts.jsonl")
    base = register_base(project=project, source=str(ROOT / "starter" / "model"), slug="starter", by=None)
    endpoint = Endpoint.objects.create(name="bench", engine="vllm", base_url=base_url, timeout_seconds=120)
    return Deployment.objects.create(
        project=project, endpoint=endpoint, model_version=base, served_name="base", stage="live", status="succeeded"
    )


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and everything below it: what the app burns that the engine then lacks."""
    ticks = os.sysconf("SC_CLK_TCK")
    stats: dict[int, tuple[int, float]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            stats[int(entry.name)] = (int(fields[1]), (int(fields[11]) + int(fields[12])) / ticks)
    below, todo = {pid}, [pid]
    while todo:
        parent = todo.pop()
        children = {child for child, (its_parent, _) in stats.items() if its_parent == parent} - below
        below |= children
        todo += children
    return sum(stats[each][1] for each in below if each in stats)


async def bare(base_url: str, work: list[tuple[Any, int]], sampling: Any, concurrency: int) -> tuple[int, float, float]:
    """(tokens, seconds, mean latency in seconds) of asking for everything and keeping nothing."""
    from generation.engines.base import SampleRequest
    from generation.engines.vllm import Vllm

    n_tokens, latency, todo = 0, 0.0, iter(work)

    async def one_after_the_other(engine: Vllm) -> None:
        nonlocal n_tokens, latency
        for messages, seed in todo:
            [sample] = await engine.sample(SampleRequest("base", messages, (seed,), sampling))
            n_tokens += sample.n_completion_tokens
            latency += sample.latency_seconds

    started = time.perf_counter()
    async with Vllm(base_url, timeout_seconds=120) as engine:
        await asyncio.gather(*(one_after_the_other(engine) for _ in range(concurrency)))
    return n_tokens, time.perf_counter() - started, latency / len(work)


def through_the_app(
    deployment: Any, n_prompts: int, n_answers: int, sampling: Any, seed: int
) -> tuple[int, float, Any]:
    """(tokens, seconds, job) of a whole job, from the call that starts it to the row that says it is over."""
    from generation.models import GenerationJob, PromptSet
    from generation.sampling import start_generation

    started = time.time()
    job = start_generation(
        project=deployment.project,
        prompt_set=PromptSet.objects.get(),
        selection={"n": n_prompts},
        arms=[{"deployment": deployment, "sampling": sampling.as_json()}],
        n_answers=n_answers,
        seed=seed,
        by=None,
    )
    while GenerationJob.objects.filter(pk=job.pk, status__in=["queued", "running"]).exists():
        time.sleep(WATCH_SECONDS)
    job.refresh_from_db()
    if job.status != "succeeded" or job.n_failed:
        raise SystemExit(f"The job is {job.status}: {job.error} {job.failures[:1]}")
    return job.n_tokens, job.finished_at.timestamp() - started, job  # the database's clock is this machine's


def same_work(job: Any) -> list[tuple[Any, int]]:
    """What the job asked, for the bare client: the same prompts in the same order with the same seeds."""
    from generation.models import Candidate

    rows = Candidate.objects.filter(arm__job=job).select_related("prompt")
    place = {pk: number for number, pk in enumerate(job.prompt_ids)}
    ordered = sorted(rows, key=lambda candidate: (place[candidate.prompt_id], candidate.index))
    return [(candidate.prompt.messages, candidate.seed) for candidate in ordered]


def measure(
    deployment: Any, base_url: str, worker_pid: int, concurrency: int, options: argparse.Namespace
) -> dict[str, Any]:
    from generation.engines.base import Sampling
    from generation.models import Endpoint

    Endpoint.objects.filter(pk=deployment.endpoint_id).update(max_concurrency=concurrency)
    sampling = Sampling(temperature=1.0, max_tokens=options.max_tokens)
    n_answers = 4
    n_prompts = max(1, min(900, options.answers // n_answers))
    _, _, job = through_the_app(deployment, n_prompts, n_answers, sampling, seed=1)  # warms both sides up
    work = same_work(job)
    bare_rates, app_rates, latencies, seconds, bare_cpu, app_cpu = [], [], [], [], [], []
    for pair in range(options.pairs):
        sides = ["bare", "app"] if pair % 2 == 0 else ["app", "bare"]
        for side in sides:
            if side == "bare":
                before = time.process_time()
                n_tokens, took, latency = asyncio.run(bare(base_url, work, sampling, concurrency))
                bare_cpu.append((time.process_time() - before) * 1000 / len(work))
                bare_rates.append(n_tokens / took)
                latencies.append(latency)
            else:
                before = cpu_seconds(worker_pid)
                n_tokens, took, _ = through_the_app(deployment, n_prompts, n_answers, sampling, seed=1)
                app_cpu.append((cpu_seconds(worker_pid) - before) * 1000 / len(work))
                app_rates.append(n_tokens / took)
                seconds.append(took)
        print(f"  {concurrency} at a time: bare {bare_rates[-1]:,.0f}, app {app_rates[-1]:,.0f} tokens/s", flush=True)
    ratios = [app / plain for app, plain in zip(app_rates, bare_rates, strict=True)]
    latency_ms = statistics.mean(latencies) * 1000
    kind = "long" if latency_ms >= LONG_MS else "short"
    return {
        "concurrency": concurrency,
        "n_answers": len(work),
        "latency_ms": round(latency_ms, 1),
        "bare_tokens_per_second": summary(bare_rates),
        "app_tokens_per_second": summary(app_rates),
        "ratio": summary(ratios, 4),
        "app_job_seconds": summary(seconds, 2),
        "bare_cpu_ms_an_answer": summary(bare_cpu, 3),
        "app_cpu_ms_an_answer": summary(app_cpu, 3),
        "target": TARGETS[kind],
        "is_met": statistics.median(ratios) >= TARGETS[kind],
    }


def summary(values: list[float], digits: int = 1) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), digits),
        "lowest": round(min(values), digits),
        "highest": round(max(values), digits),
        "n": len(values),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5, help="measurements of each side")
    parser.add_argument("--answers", type=int, default=3600, help="answers of each measurement")
    parser.add_argument("--max-tokens", type=int, default=96)
    parser.add_argument("--concurrency", type=int, nargs="+", default=list(CONCURRENCY))
    options = parser.parse_args()
    from benchmarks.report import table, write

    with tempfile.TemporaryDirectory(prefix="whetstone-bench-") as folder:
        home = Path(folder)
        prepare(home)
        from generation.engines.process import ServerProcess
        from generation.engines.vllm import VllmOptions, VllmServer

        worker = ServerProcess(
            [sys.executable, "-m", "celery", "-A", "config", "worker", "-Q", "default", "--concurrency", "1",
             "--loglevel", "WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat"],
            dict(os.environ), home / "worker.log", working_directory=ROOT,
        )  # fmt: skip
        with VllmServer(VllmOptions(model=str(ROOT / "starter" / "model"), home=home / "vllm")) as server:
            deployment = make_world(server.base_url)
            worker.start()
            try:
                rows = [measure(deployment, server.base_url, worker.pid or 0, n, options) for n in options.concurrency]
            finally:
                worker.stop()
    print(table(
        ["at a time", "latency ms", "bare tok/s", "app tok/s", "ratio", "lowest", "highest", "bare cpu ms", "app cpu ms",
         "target", ""],
        [
            [row["concurrency"], row["latency_ms"], f"{row['bare_tokens_per_second']['median']:,.0f}",
             f"{row['app_tokens_per_second']['median']:,.0f}", f"{row['ratio']['median']:.3f}",
             f"{row['ratio']['lowest']:.3f}", f"{row['ratio']['highest']:.3f}",
             f"{row['bare_cpu_ms_an_answer']['median']:.2f}", f"{row['app_cpu_ms_an_answer']['median']:.2f}",
             f"{row['target']:.2f}",
             "met" if row["is_met"] else "MISSED"]
            for row in rows
        ],
    ))  # fmt: skip
    settings = {
        "max_tokens": options.max_tokens,
        "pairs": options.pairs,
        "answers": options.answers,
        "model": "starter",
    }
    path = write("pipeline", {"rows": rows, "load": load()}, settings=settings)
    print(f"Written: {path.relative_to(ROOT)}")


def load() -> dict[str, Any]:
    """What else the machine was doing: figures of a busy machine are to be read with care."""
    one, five, fifteen = os.getloadavg()
    return {"load_1": round(one, 1), "load_5": round(five, 1), "load_15": round(fifteen, 1), "n_cores": os.cpu_count()}


if __name__ == "__main__":
    main()
