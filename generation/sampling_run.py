"""The worker of a generation job: asks the engines for what is missing and stores it, whatever interrupts it.

One event loop asks; one thread owns the database. Each batch is stored in the transaction that renews the lease, so
that a worker whose lease was lost can write nothing more. Nothing per answer touches the database but its place in a batch.
"""

import asyncio
import contextlib
import logging
import random
import secrets
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from django.db import InterfaceError, OperationalError, connections, transaction
from django.db.models import Count, Sum
from django.utils import timezone

from core.bulk import Rows, keys_from, taken
from core.counting import counted
from core.errors import DomainError
from core.ids import KEY_LENGTH, seed_from, sha256_hex
from core.jobs import Beat, beat, cancelled, claim, fail, finish, retry
from generation.engines.base import (
    BadRequest,
    Engine,
    EngineBusy,
    EngineDown,
    GarbledAnswer,
    Health,
    Sample,
    SampleRequest,
    Sampling,
    UnknownModel,
)
from generation.models import Candidate, Endpoint, GenerationJob, JobArm, Prompt
from generation.sampling import CAN_ANSWER

logger = logging.getLogger(__name__)

LEASE_SECONDS = 30.0
BEAT_SECONDS = 2.0  # a sign of life, whether or not there is an answer to store
FLUSH_SECONDS = 1.0  # an answer lost with its worker is asked for again, with the same seed
CHUNK_PROMPTS = 200  # prompts that are read at a time
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0
SHORTEST_PROBE_SECONDS = 1.0
MAX_TRIES = 6  # of one answer, by a server that is up but fails at it
MAX_OUTAGES = 10  # that one answer lives through: a prompt that crashes the server must not crash it for ever
MODEL_WAIT_SECONDS = 600.0  # for an adapter to be loaded again after a restart
LIVE_OUTAGE_SECONDS = 20.0  # somebody is waiting: a live job ends with a sentence, and that person decides
RATE_WINDOW_SECONDS = 15.0
KEPT_FAILURES = 100
LABELS = {"vllm": "vLLM", "local": "The in-process engine", "openai": "The endpoint"}

T = TypeVar("T")


class Stop(Exception):
    """End the run: the lease is lost, a cancel was asked, or it cannot go on."""


class LeaseLost(Stop):
    pass


class CancelAsked(Stop):
    pass


class CannotGoOn(Stop):
    """The sentence is what the job's page says."""


@dataclass(slots=True)
class Arm:
    pk: int
    number: int
    letter: str
    served_name: str
    sampling: Sampling
    deployment_id: int


@dataclass(slots=True)
class Item:
    """One answer to ask for: its identity, and what has happened to it."""

    arm: Arm
    prompt_id: int
    index: int
    seed: int
    messages: Sequence[Mapping[str, str]]
    n_tries: int = 0
    n_outages: int = 0
    n_pauses: int = 0


@dataclass(slots=True)
class Failure:
    item: Item
    reason: str


@dataclass(slots=True)
class Answer:
    item: Item
    sample: Sample
    was_shortened: bool


@dataclass(slots=True)
class Lane:
    """One endpoint with the arms that it answers. All wait on ``is_open``, which is set while it answers."""

    endpoint: Endpoint
    arms: list[Arm]
    engine: Engine
    is_open: asyncio.Event
    queue: "asyncio.Queue[Item | None]"
    context: int | None = None
    message: str = ""
    is_probed: bool = False
    missing_since: float | None = None
    limits: dict[tuple[int, int], int] = field(default_factory=dict)  # (arm, prompt) -> lowered max_tokens

    @property
    def name(self) -> str:
        return LABELS.get(self.endpoint.engine, self.endpoint.name)


# ---- the database's side: one thread ---------------------------------------------------------------------------------


class Ledger:
    """What the worker reads and writes. Every method runs in the one database thread."""

    def __init__(self, job: GenerationJob, token: str) -> None:
        self.job, self.token = job, token
        self.n_stored = self.n_tokens = self.n_failed = self.n_shortened = 0
        self.failures: list[dict[str, Any]] = []
        self.recent: deque[tuple[float, int, int]] = deque([(time.monotonic(), 0, 0)])
        self.table: Rows | None = None

    def open(self) -> dict[Endpoint, list[Arm]]:
        """Count what is there and return the arms by endpoint. Raises CannotGoOn if one cannot be asked any more."""
        arms = self.job.arms.select_related("deployment__endpoint").order_by("number")
        there = Candidate.objects.filter(arm__job=self.job).aggregate(n=Count("pk"), tokens=Sum("n_completion_tokens"))
        self.n_stored, self.n_tokens = there["n"], there["tokens"] or 0
        lanes: dict[int, tuple[Endpoint, list[Arm]]] = {}
        for arm in arms:
            self._check_arm(arm)
            assert arm.deployment is not None
            endpoint = arm.deployment.endpoint
            lanes.setdefault(endpoint.pk, (endpoint, []))[1].append(
                Arm(
                    pk=arm.pk,
                    number=arm.number,
                    letter=arm.letter,
                    served_name=arm.deployment.served_name,
                    sampling=Sampling.from_json(arm.sampling),
                    deployment_id=arm.deployment.pk,
                )
            )
        n_expected = len(self.job.prompt_ids) * self.job.n_answers * len(arms)
        # Failures of an earlier attempt are asked for again, so they are counted again.
        self._mine().update(
            step=self.n_stored, total_steps=n_expected, n_tokens=self.n_tokens, n_failed=0, failures=[], message=""
        )
        self.job.step = self.n_stored
        self.n_shortened = self.job.n_shortened
        return dict(lanes.values())

    def check_arms(self) -> None:
        for arm in self.job.arms.select_related("deployment"):
            self._check_arm(arm)

    @staticmethod
    def _check_arm(arm: JobArm) -> None:
        if arm.deployment is None:
            raise CannotGoOn(f"Arm {arm.letter} has no deployment to ask.")
        if arm.deployment.stage not in CAN_ANSWER:
            raise CannotGoOn(
                f"The deployment of arm {arm.letter} was retired before all answers were written. "
                "What is there stays; start a new job with a model that is live for the rest."
            )

    @property
    def is_live(self) -> bool:
        return self.job.kind == GenerationJob.Kind.LIVE

    def _mine(self) -> Any:
        return GenerationJob.objects.filter(pk=self.job.pk, lease_token=self.token)

    def fresh_endpoint(self, pk: int) -> Endpoint:
        return Endpoint.objects.get(pk=pk)

    def note_engine(self, arms: Sequence[Arm], version: str) -> None:
        JobArm.objects.filter(pk__in=[arm.pk for arm in arms]).update(engine_version=version[:60])

    def missing(self, prompt_ids: Sequence[int], arms: Sequence[Arm]) -> list[Item]:
        """What is still to be asked of these prompts: every expected answer less those that exist."""
        there = set(
            Candidate.objects.filter(arm_id__in=[arm.pk for arm in arms], prompt_id__in=prompt_ids).values_list(
                "arm_id", "prompt_id", "index"
            )
        )
        rows = {
            pk: (messages, content)
            for pk, messages, content in Prompt.objects.filter(pk__in=prompt_ids).values_list(
                "pk", "messages", "content_sha256"
            )
        }
        return [
            Item(arm, pk, index, seed_from(self.job.seed, rows[pk][1], arm.number, index), rows[pk][0])
            for pk in prompt_ids
            if pk in rows
            for arm in arms
            for index in range(self.job.n_answers)
            if (arm.pk, pk, index) not in there
        ]

    def store(self, outcomes: Sequence[Answer | Failure], message: str) -> Beat:
        """Write a batch, renew the lease and report progress, in one transaction; nothing if the lease was lost."""
        answers = [outcome for outcome in outcomes if isinstance(outcome, Answer)]
        failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
        n_stored = self.n_stored + len(answers)
        n_tokens = self.n_tokens + sum(answer.sample.n_completion_tokens for answer in answers)
        n_shortened = self.n_shortened + sum(answer.was_shortened for answer in answers)
        kept = (self.failures + [_failure_row(failure) for failure in failures])[:KEPT_FAILURES]
        answers_rate, tokens_rate = self._rates(n_stored, n_tokens)
        with transaction.atomic():
            pulse = beat(
                self.job,
                self.token,
                seconds=LEASE_SECONDS,
                step=n_stored,
                n_tokens=n_tokens,
                n_failed=self.n_failed + len(failures),
                n_shortened=n_shortened,
                answers_per_second=answers_rate,
                tokens_per_second=tokens_rate,
                message=message,
                **({"failures": kept} if failures else {}),
            )
            if not pulse.alive:
                return pulse
            self._insert(answers)
        self.n_stored, self.n_tokens, self.n_shortened, self.failures = n_stored, n_tokens, n_shortened, kept
        self.n_failed += len(failures)
        return pulse

    def _insert(self, answers: Sequence[Answer]) -> None:
        """Past the ORM: what a worker burns on its objects, an engine on the same machine lacks."""
        if not answers:
            return
        self.table = self.table or Rows(Candidate, *COLUMNS)
        keys = keys_from(secrets.token_bytes(KEY_LENGTH * len(answers)))
        now = taken(timezone.now())
        self.table.insert([_row(answer, key, now) for answer, key in zip(answers, keys, strict=True)])

    def _rates(self, n_answers: int, n_tokens: int) -> tuple[float | None, float | None]:
        now = time.monotonic()
        if self.recent[-1][1] == 0:  # the first figure of this run: count from here, not from zero
            self.recent = deque([(self.recent[-1][0], self.n_stored, self.n_tokens)])
        self.recent.append((now, n_answers, n_tokens))
        while len(self.recent) > 2 and now - self.recent[0][0] > RATE_WINDOW_SECONDS:
            self.recent.popleft()
        since, answers_then, tokens_then = self.recent[0]
        seconds = now - since
        if seconds < 0.5:
            return None, None
        return (n_answers - answers_then) / seconds, (n_tokens - tokens_then) / seconds

    def close(self, stop: Stop | None) -> None:
        """Write down how it ended."""
        if isinstance(stop, LeaseLost):
            return
        summary = _summary(self.n_stored, self.n_failed, self.n_shortened)
        if isinstance(stop, CancelAsked):
            cancelled(self.job, self.token, message=f"Cancelled. {summary}")
        elif stop is not None:
            fail(self.job, self.token, str(stop), message=summary)
        elif self.n_failed and not self.n_stored:
            reason = self.failures[0]["reason"] if self.failures else ""
            fail(self.job, self.token, f"No answer could be written. The first reason: {reason}")
        elif self.n_failed and self.is_live:  # one answer alone is shown to nobody; the other is asked for again
            reason = self.failures[0]["reason"] if self.failures else ""
            fail(self.job, self.token, f"An answer could not be written. The reason: {reason}")
        else:
            finish(self.job, self.token, message=summary)


def _summary(n_stored: int, n_failed: int, n_shortened: int) -> str:
    parts = [f"{counted(n_stored, 'answer is', 'answers are')} there."]
    if n_failed:
        parts.append(f"{n_failed:,} could not be written.")
    if n_shortened:
        were = counted(n_shortened, "was", "were")
        parts.append(f"{were} given less room than asked, because the prompt nearly fills the context.")
    return " ".join(parts)


def _failure_row(failure: Failure) -> dict[str, Any]:
    item = failure.item
    return {"prompt": item.prompt_id, "arm": item.arm.number, "index": item.index, "reason": failure.reason}


COLUMNS = (
    "key", "arm_id", "prompt_id", "index", "seed", "text", "text_sha256", "finish_reason", "n_prompt_tokens",
    "n_completion_tokens", "latency_seconds", "created_at",
)  # fmt: skip


def _row(answer: Answer, key: str, now: Any) -> tuple[Any, ...]:
    """The values of ``COLUMNS``."""
    item, sample = answer.item, answer.sample
    return (
        key,
        item.arm.pk,
        item.prompt_id,
        item.index,
        item.seed,
        sample.text,
        sha256_hex(sample.text),
        sample.finish_reason,
        sample.n_prompt_tokens,
        sample.n_completion_tokens,
        sample.latency_seconds,
        now,
    )


class Unreachable:
    """Stands where an engine has no address yet: a managed server that is still starting."""

    def __init__(self, message: str) -> None:
        self.message = message

    async def health(self) -> Health:
        return Health(is_ready=False, message=self.message)

    async def sample(self, request: SampleRequest) -> list[Sample]:
        raise EngineDown(self.message)

    async def close(self) -> None:
        return None


# ---- the engines' side: one event loop -------------------------------------------------------------------------------


class Run:
    """One attempt at a job, from the lease to its end. ``open_engine`` makes the engine of an endpoint."""

    def __init__(self, ledger: Ledger, database: ThreadPoolExecutor, open_engine: Callable[[Endpoint], Engine]) -> None:
        self.ledger, self.database, self.open_engine = ledger, database, open_engine
        self.outcomes: list[Answer | Failure] = []
        self.lanes: list[Lane] = []
        self.group: asyncio.TaskGroup
        self.is_done = asyncio.Event()
        self.probes: list[asyncio.Task[None]] = []
        self.stuck_since: float | None = None

    def engine_of(self, endpoint: Endpoint) -> Engine:
        try:
            return self.open_engine(endpoint)
        except EngineDown as problem:
            return Unreachable(problem.sentence)
        except DomainError as problem:  # its address is no longer allowed, or its secret is gone
            raise CannotGoOn(problem.words) from None

    async def db(self, call: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.database, call, *args)

    async def whole(self) -> Stop | None:
        """Ask until nothing is missing; how it was stopped, if it was."""
        stop: Stop | None = None
        try:
            for endpoint, arms in (await self.db(self.ledger.open)).items():
                lane = Lane(
                    endpoint=endpoint,
                    arms=arms,
                    engine=self.engine_of(endpoint),
                    is_open=asyncio.Event(),
                    queue=asyncio.Queue(maxsize=2 * endpoint.max_concurrency),
                )
                self.lanes.append(lane)
            async with asyncio.TaskGroup() as self.group:
                pulse = self.group.create_task(self.keep_pulse())
                async with asyncio.TaskGroup() as work:
                    for lane in self.lanes:
                        work.create_task(self.run_lane(lane))
                self.is_done.set()
                for probe in self.probes:
                    probe.cancel()
                await pulse
        except* Stop as stops:
            stop = _first(stops)
        finally:
            for lane in self.lanes:
                await lane.engine.close()
        if self.outcomes and not isinstance(stop, LeaseLost):
            outcomes, self.outcomes = self.outcomes, []
            pulse_now = await self.db(self.ledger.store, outcomes, "")
            stop = stop if pulse_now.alive else LeaseLost()
        return stop

    async def keep_pulse(self) -> None:
        """Store what has come in, keep the lease alive and hear of a cancel, until all work is done."""
        last = 0.0
        while not self.is_done.is_set():
            now = time.monotonic()
            if self.outcomes or now - last >= BEAT_SECONDS:
                if now - last >= BEAT_SECONDS:
                    await self.db(self.ledger.check_arms)
                last = now
                self.lose_patience(now)
                await self.flush()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.is_done.wait(), FLUSH_SECONDS)

    def lose_patience(self, now: float) -> None:
        """End a live job whose server stays away, rather than hold a worker and a person for as long as it takes."""
        is_stuck = any(lane.missing_since or not lane.is_open.is_set() for lane in self.lanes)
        self.stuck_since = (self.stuck_since or now) if is_stuck else None
        if self.ledger.is_live and self.stuck_since is not None and now - self.stuck_since > LIVE_OUTAGE_SECONDS:
            raise CannotGoOn("The models do not answer.")

    async def flush(self) -> None:
        outcomes, self.outcomes = self.outcomes, []
        message = " ".join(lane.message for lane in self.lanes if lane.message)
        pulse = await self.db(self.ledger.store, outcomes, message)
        if not pulse.alive:
            raise LeaseLost
        if pulse.cancel:
            raise CancelAsked

    async def run_lane(self, lane: Lane) -> None:
        health = await lane.engine.health()
        if health.is_ready:
            lane.context = lane.endpoint.max_model_length or health.max_model_len
            await self.db(self.ledger.note_engine, lane.arms, health.version or lane.endpoint.version)
            lane.is_open.set()
        else:
            self.begin_probe(lane, health.message)
        n_workers = min(lane.endpoint.max_concurrency, self.ledger.job.n_expected)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.feed(lane, n_workers))
            for _ in range(n_workers):
                group.create_task(self.work(lane))

    async def feed(self, lane: Lane, n_workers: int) -> None:
        """Put every missing answer on the lane's queue; the next prompts are read while these are answered."""
        chunks = _chunks(self.ledger.job.prompt_ids, CHUNK_PROMPTS)
        ahead = next(chunks, None)
        reading = self.db(self.ledger.missing, ahead, lane.arms) if ahead else None
        task = asyncio.ensure_future(reading) if reading else None
        while task is not None:
            items = await task
            ahead = next(chunks, None)
            task = asyncio.ensure_future(self.db(self.ledger.missing, ahead, lane.arms)) if ahead else None
            for item in items:
                await lane.queue.put(item)
        for _ in range(n_workers):
            await lane.queue.put(None)

    async def work(self, lane: Lane) -> None:
        while (item := await lane.queue.get()) is not None:
            if not lane.is_open.is_set():
                await lane.is_open.wait()
            # On a line of its own: the list is swapped while this waits, and an answer must go to the one in use then.
            outcome = await self.ask(lane, item)
            self.outcomes.append(outcome)

    async def ask(self, lane: Lane, item: Item) -> Answer | Failure:
        """One answer: waits as long as the server is busy or down, gives up only what cannot be helped."""
        while True:
            limit = lane.limits.get((item.arm.pk, item.prompt_id)) if lane.limits else None
            sampling = item.arm.sampling if limit is None else replace(item.arm.sampling, max_tokens=limit)
            try:
                request = SampleRequest(item.arm.served_name, item.messages, (item.seed,), sampling)
                [sample] = await lane.engine.sample(request)
                if sample.model != item.arm.served_name:
                    raise GarbledAnswer(f"Asked {item.arm.served_name}, but {sample.model} answered.")
                if problem := _unstorable(sample.text):
                    return Failure(item, problem)
                lane.missing_since = None
                return Answer(item, sample, was_shortened=limit is not None)
            except ValueError as problem_with_prompt:  # from SampleRequest: not a prompt that can be asked
                return Failure(item, f"This prompt cannot be asked: {problem_with_prompt}.")
            except UnknownModel as problem_with_model:
                await self.wait_for_model(lane, item, problem_with_model)
            except BadRequest as refusal:
                if limit is None and await self.give_less_room(lane, item):
                    continue
                return Failure(item, refusal.sentence)
            except EngineBusy as busy:
                pause = _wait_of(busy, item.n_pauses)
                item.n_pauses += 1
                if item.n_pauses > 2:
                    lane.message = f"{lane.name} is busy, trying again in {pause:.0f} s."
                await asyncio.sleep(pause * random.uniform(0.75, 1.25))
                lane.message = ""
            except EngineDown as down:  # GarbledAnswer is one of these
                if await self.is_outage(lane, down):
                    item.n_outages += 1
                    if item.n_outages >= MAX_OUTAGES:
                        return Failure(item, f"{lane.name} went down {MAX_OUTAGES} times while this was asked.")
                    await lane.is_open.wait()
                    continue
                item.n_tries += 1
                if item.n_tries >= MAX_TRIES:
                    return Failure(item, f"Given up after {MAX_TRIES} tries: {down.sentence}")
                await asyncio.sleep(_pause(item.n_tries - 1) * random.uniform(0.75, 1.25))

    # ---- what a lane goes through ------------------------------------------------------------------------------------

    async def is_outage(self, lane: Lane, problem: EngineDown) -> bool:
        """Whether the server itself is down, and not only this answer unlucky. If so, all wait on one probe."""
        if not lane.is_open.is_set():
            return True
        health = await lane.engine.health()
        if not lane.is_open.is_set():  # somebody else has found out meanwhile
            return True
        if health.is_ready:
            return False
        self.begin_probe(lane, health.message or problem.sentence)
        return True

    def begin_probe(self, lane: Lane, reason: str) -> None:
        lane.is_open.clear()
        if not lane.is_probed:
            lane.is_probed = True
            logger.warning("%s is down (%s); waiting for it.", lane.name, reason)
            self.probes.append(self.group.create_task(self.probe(lane)))

    async def probe(self, lane: Lane) -> None:
        """Try again, ever less often, until the server answers; a server that came back elsewhere is followed there."""
        n_probes = 0
        while True:
            pause = max(SHORTEST_PROBE_SECONDS, _pause(n_probes) * random.uniform(0.75, 1.25))
            n_probes += 1
            state = "is starting" if lane.endpoint.state == Endpoint.State.STARTING else "is down"
            lane.message = f"{lane.name} {state}, trying again in {pause:.0f} s."
            await asyncio.sleep(pause)
            fresh = await self.db(self.ledger.fresh_endpoint, lane.endpoint.pk)
            if fresh.base_url != lane.endpoint.base_url or isinstance(lane.engine, Unreachable):
                await lane.engine.close()
                lane.engine = self.engine_of(fresh)
            lane.endpoint = fresh
            health = await lane.engine.health()
            if health.is_ready:
                lane.context = fresh.max_model_length or health.max_model_len
                lane.message, lane.is_probed = "", False
                lane.is_open.set()
                return

    async def wait_for_model(self, lane: Lane, item: Item, problem: UnknownModel) -> None:
        """The server is there without this model: after a restart its adapters are loaded again, so wait; else stop."""
        await self.db(self.ledger.check_arms)
        now = time.monotonic()
        lane.missing_since = lane.missing_since or now
        if lane.endpoint.engine == Endpoint.Engine.OPENAI or now - lane.missing_since > MODEL_WAIT_SECONDS:
            raise CannotGoOn(
                f"{lane.name} does not serve the model of arm {item.arm.letter}. "
                "Deploy it again, then let this job go on."
            )
        pause = _pause(min(item.n_pauses, 4))
        item.n_pauses += 1
        what = f"the model of arm {item.arm.letter}"
        lane.message = f"{lane.name} has not loaded {what} yet, trying again in {pause:.0f} s."
        await asyncio.sleep(pause * random.uniform(0.75, 1.25))
        lane.message = ""

    async def give_less_room(self, lane: Lane, item: Item) -> bool:
        """Lower the length limit of a prompt that fits the context, though not with a whole answer; say whether it did.

        The engine counts the prompt's tokens itself: one answer of one token, asked and thrown away.
        """
        key = (item.arm.pk, item.prompt_id)
        if key in lane.limits:
            return True
        asked = item.arm.sampling
        if not lane.context or asked.max_tokens <= 1:
            return False
        n_tokens_at_most = sum(len(message["content"].encode()) + 32 for message in item.messages)
        if n_tokens_at_most + asked.max_tokens < lane.context:
            return False  # a token is at least a byte: this prompt was not refused for its length
        try:
            one = replace(asked, max_tokens=1)
            [sample] = await lane.engine.sample(SampleRequest(item.arm.served_name, item.messages, (item.seed,), one))
        except (BadRequest, EngineBusy, EngineDown):
            return False
        room = lane.context - sample.n_prompt_tokens
        if not 0 < room < asked.max_tokens:
            return False
        lane.limits[key] = room
        return True


def _cause(problem: BaseException) -> BaseException:
    """What is inside the groups that task groups make."""
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    return problem


def _first(group: BaseExceptionGroup[Stop]) -> Stop:
    found = _cause(group)
    assert isinstance(found, Stop)
    return found


def _chunks(ids: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), size):
        yield ids[start : start + size]


def _pause(n_before: int) -> float:
    return float(min(FIRST_PAUSE_SECONDS * 2**n_before, LONGEST_PAUSE_SECONDS))


def _wait_of(busy: EngineBusy, n_before: int) -> float:
    return busy.retry_after_seconds or _pause(n_before)


def _unstorable(text: str) -> str:
    """Why an answer cannot be stored byte for byte; it is never silently changed."""
    if "\x00" in text:
        return "The answer holds a NUL character, which a database cannot store."
    try:
        text.encode()
    except UnicodeEncodeError:
        return "The answer holds half of a character (a lone surrogate)."
    return ""


def engine_of(endpoint: Endpoint) -> Engine:
    from generation.endpoints import engine_for

    return engine_for(endpoint)


def run_generation(job_id: int, open_engine: Callable[[Endpoint], Engine] = engine_of) -> None:
    """Claim the job and write what is missing of it. Does nothing where somebody else has it, or where it is over."""
    job = GenerationJob.objects.filter(pk=job_id).first()
    token = claim(job, seconds=LEASE_SECONDS) if job else None
    if job is None or token is None:
        return
    ledger = Ledger(job, token)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="generation-db") as database:
        try:
            stop = asyncio.run(_run(ledger, database, open_engine))
            database.submit(ledger.close, stop).result()
        except Exception as problem:
            cause = _cause(problem)
            logger.exception("Generation job %s stopped.", job.key)
            if isinstance(cause, (OperationalError, InterfaceError)):
                database.submit(retry, job, token, what="The job").result()
            else:
                sentence = f"The job stopped on something unexpected: {type(cause).__name__}. The log has the details."
                database.submit(fail, job, token, sentence, log_tail=traceback.format_exc()[-4000:]).result()
        finally:
            database.submit(connections.close_all).result()


async def _run(ledger: Ledger, database: ThreadPoolExecutor, open_engine: Callable[[Endpoint], Engine]) -> Stop | None:
    return await Run(ledger, database, open_engine).whole()
