"""Endpoints: which addresses are allowed, the engine behind one, its test in words, and its state.

Rule: no engine is made for an address that the allow-list does not hold, whatever the row says.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from accounts.audit import record
from accounts.models import User
from core.errors import DomainError, require
from core.ids import new_key
from core.storage import artifacts_root
from generation.artifacts import ARTIFACT_KIND
from generation.engines.base import BadRequest, EngineDown, EngineError, Health, SampleRequest, Sampling
from generation.engines.openai_compatible import OpenAICompatible
from generation.engines.vllm import RUN_TIME_LORA_OFF, Vllm
from generation.models import Endpoint, ModelVersion

T = TypeVar("T")
E = TypeVar("E", bound=OpenAICompatible)
TEST_SECONDS = 30.0
# One plain form and no other: what every parser of addresses reads alike.
PLAIN_URL = re.compile(
    r"(https?)://(\[[0-9a-f:.]+\]|[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?)(?::(\d{1,5}))?((?:/[A-Za-z0-9._-]+)*)/?"
)


# --- addresses -------------------------------------------------------------------------------------------------------


def check_base_url(url: str) -> str:
    """The address in its one plain form. Raises DomainError unless its host is on the allow-list."""
    plain = PLAIN_URL.fullmatch(url.strip().lower() if url.isascii() else "")
    require(plain, "The address must look like http://host:port.", how="No user name, no query, no special characters.")
    assert plain is not None
    scheme, host, port, path = plain.groups()
    bare = host.strip("[]")
    allowed = {name.lower() for name in settings.WHETSTONE.endpoint_hosts}
    require(
        {bare, host, f"{host}:{port}"} & allowed,
        f"The host {bare} is not on the list of hosts that endpoints may live on.",
        how="Whoever runs this site adds it to WHETSTONE_ENDPOINT_HOSTS and restarts.",
    )
    require(not port or 0 < int(port) < 65536, "The address has a port that does not exist.")
    return f"{scheme}://{host}{f':{port}' if port else ''}{path.removesuffix('/v1')}"


def engine_for(endpoint: Endpoint) -> OpenAICompatible:
    """The engine behind an endpoint; a ``Vllm`` where adapters can be loaded. Use it within one event loop and close it.

    Raises EngineDown while a managed endpoint has no address yet, DomainError for an address that is not allowed.
    """
    if endpoint.is_managed and not endpoint.base_url:
        raise EngineDown(endpoint.state_message or "The engine has not been started yet.")
    address = check_base_url(endpoint.base_url)
    secret = settings.WHETSTONE.endpoint_secret(endpoint.secret_name) if endpoint.secret_name else None
    require(
        secret or not endpoint.secret_name,
        f"The secret {endpoint.secret_name} of the endpoint {endpoint} is not set.",
        how=f"Set WHETSTONE_SECRET_{endpoint.secret_name}, or WHETSTONE_SECRET_{endpoint.secret_name}_FILE.",
    )
    kind = OpenAICompatible if endpoint.engine == Endpoint.Engine.OPENAI else Vllm
    return kind(
        address,
        api_key=secret or "",
        timeout_seconds=endpoint.timeout_seconds,
        max_model_len=endpoint.max_model_length,
    )


def deployer_for(endpoint: Endpoint) -> Vllm:
    """Raises DomainError for an endpoint that can only answer."""
    engine = engine_for(endpoint)
    if not isinstance(engine, Vllm):
        raise DomainError(f"The endpoint {endpoint} can only answer: no model can be loaded into it.")
    return engine


def talk(engine: E, conversation: Callable[[E], Awaitable[T]]) -> T:
    """One conversation with an engine from ordinary code; the engine is closed after it.

    What the conversation needs of the database is read before: within it there is an event loop.
    """

    async def inner() -> T:
        async with engine:
            return await conversation(engine)

    return asyncio.run(inner())


# --- state -----------------------------------------------------------------------------------------------------------


def note_state(endpoint: Endpoint, state: str, message: str = "", **facts: Any) -> None:
    """Write what an endpoint is doing, for every page that waits for it."""
    Endpoint.objects.filter(pk=endpoint.pk).update(state=state, state_message=message, state_at=Now(), **facts)
    endpoint.refresh_from_db()


def managed_endpoint() -> Endpoint | None:
    """The endpoint that ``serve_engine`` starts on this machine."""
    return Endpoint.objects.filter(is_managed=True, is_enabled=True).order_by("id").first()


def facts_of(health: Health) -> dict[str, Any]:
    """The columns that an endpoint's own word fills."""
    facts: dict[str, Any] = {"version": health.version} if health.version else {}
    return facts | ({"max_model_length": health.max_model_len} if health.max_model_len else {})


# --- adding and changing ---------------------------------------------------------------------------------------------


@transaction.atomic
def save_endpoint(endpoint: Endpoint, *, by: User) -> Endpoint:
    """Add or change an endpoint. Site admins only; the address must be allowed (a managed one gets its own)."""
    require(by.is_active and by.is_superuser, "Only site admins may add or change endpoints.")
    if not (endpoint.is_managed and not endpoint.base_url):
        endpoint.base_url = check_base_url(endpoint.base_url)
    if endpoint.path_from or endpoint.path_to:
        require(
            Path(endpoint.path_from).is_absolute() and Path(endpoint.path_to).is_absolute(),
            "A path mapping needs two absolute paths: the app's, and the server's for the same directory.",
        )
    is_new = endpoint.pk is None
    endpoint.save()
    record(
        "endpoint.add" if is_new else "endpoint.change", user=by, subject=endpoint, detail={"url": endpoint.base_url}
    )
    return endpoint


# --- artifacts as the server sees them -------------------------------------------------------------------------------


def path_on_server(endpoint: Endpoint, path: Path) -> str:
    """Where the endpoint's host finds a path of ours. Raises DomainError for one outside a mapped directory."""
    if not endpoint.path_from:
        return str(path)
    try:
        return str(Path(endpoint.path_to) / path.relative_to(endpoint.path_from))
    except ValueError:
        raise DomainError(
            f"{path} lies outside {endpoint.path_from}, which the endpoint {endpoint} sees as {endpoint.path_to}.",
            how="Correct the path mapping on the endpoint's page.",
        ) from None


def problems_for_training(endpoint: Endpoint, base: ModelVersion, *, rank: int | None) -> list[str]:
    """What would keep a run's result from being served here, in sentences; empty when nothing would.

    Asked before a run starts: an hour of training that nobody can deploy helps no one.
    """
    problems = []
    if endpoint.engine == Endpoint.Engine.OPENAI:
        problems.append(f"The endpoint {endpoint} can only answer; no model can be loaded into it.")
    if not serves_base(endpoint, base):
        problems.append(f"The endpoint {endpoint} serves {endpoint.base_model or 'another model'}, not {base.root}.")
    if rank is None:
        problems.append(f"Full weights cannot be loaded into {endpoint} while it runs; train an adapter instead.")
    elif rank > endpoint.max_lora_rank:
        problems.append(
            f"The adapter would have rank {rank}, but {endpoint} takes at most {endpoint.max_lora_rank}: "
            f"lower the rank, or start that server with --max-lora-rank {rank}."
        )
    if endpoint.max_loras < 1:
        problems.append(f"The endpoint {endpoint} has no slot for an adapter.")
    return problems


def serves_base(endpoint: Endpoint, version: ModelVersion) -> bool:
    """Whether the endpoint's base model is the one under this version."""
    root = version.root
    if not endpoint.base_model:
        return endpoint.base_served_name in {root.slug, root.source}
    mine = {root.source, root.artifact_sha256, str(artifacts_root() / ARTIFACT_KIND / root.artifact_sha256)} - {""}
    return endpoint.base_model in mine or bool({_resolved(endpoint.base_model)} & {_resolved(name) for name in mine})


def _resolved(name: str) -> str:
    path = Path(name)
    return str(path.resolve()) if path.is_absolute() else name


# --- the test, in words ----------------------------------------------------------------------------------------------

Outcome = Literal["works", "fails", "unknown"]


@dataclass(frozen=True)
class Check:
    """One line of the test: what was tried, how it went, and what to type where it failed."""

    what: str
    outcome: Outcome
    sentence: str
    how: str = ""
    detail: str = ""


@dataclass
class Report:
    checks: list[Check] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def works(self) -> bool:
        return all(check.outcome != "fails" for check in self.checks)

    def add(self, what: str, outcome: Outcome, sentence: str, how: str = "", detail: str = "") -> None:
        self.checks.append(Check(what, outcome, sentence, how, detail))


def test_endpoint(endpoint: Endpoint) -> Report:
    """Try everything that the loop needs of an endpoint and say it in words. Writes the endpoint's state and facts."""
    report = Report()
    try:
        talk(engine_for(endpoint), lambda engine: asyncio.wait_for(_test(endpoint, engine, report), TEST_SECONDS))
    except TimeoutError:
        report.add("Time", "fails", f"The test was not done after {TEST_SECONDS:.0f} s.", "Is the server overloaded?")
    except DomainError as problem:
        report.add("Address", "fails", problem.sentence, problem.how)
    except EngineError as problem:
        report.add("Reachable", "fails", problem.sentence, detail=problem.detail)
    if not endpoint.is_managed:  # a managed one is described by whoever supervises it
        failed = next((check.sentence for check in report.checks if check.outcome == "fails"), "")
        note_state(endpoint, Endpoint.State.DOWN if failed else Endpoint.State.READY, failed, **report.facts)
    return report


test_endpoint.__test__ = False  # type: ignore[attr-defined]  # not a test, whatever its name says to pytest


async def _test(endpoint: Endpoint, engine: OpenAICompatible, report: Report) -> None:
    health = await engine.health()
    if not health.is_ready:
        how = (
            "Start it, or correct the address."
            if not endpoint.is_managed
            else "Start it: python manage.py serve_engine"
        )
        report.add("Reachable", "fails", health.message, how)
        return
    report.facts |= facts_of(health)
    report.add("Reachable", "works", f"It answers{f' (version {health.version})' if health.version else ''}.")
    names = ", ".join(model.name for model in health.models[:8])
    if not health.serves(endpoint.base_served_name):
        report.add(
            "Models",
            "fails",
            f"It serves {names}, but not {endpoint.base_served_name or 'a model whose name is entered here'}.",
            f"Enter one of these as the served name, or start vLLM with --served-model-name {endpoint.base_served_name}",
        )
        return
    report.add("Models", "works", f"It serves {names}.")
    length = health.max_model_len
    report.add(
        "Context",
        "works" if length else "unknown",
        f"Prompt and answer together may have {length} tokens."
        if length
        else "It does not say how long a text may be.",
    )
    await _test_answer(endpoint, engine, report)
    if isinstance(engine, Vllm):
        await _test_adapters(endpoint, engine, report)


async def _test_answer(endpoint: Endpoint, engine: OpenAICompatible, report: Report) -> None:
    request = SampleRequest(
        endpoint.base_served_name, [{"role": "user", "content": "Hello"}], [1], Sampling(max_tokens=8)
    )
    try:
        (sample,) = await engine.sample(request)
    except EngineError as problem:
        # A server may call itself healthy and write nothing.
        report.add("Answer", "fails", problem.sentence, "Look into the server's own log.", problem.detail)
        return
    report.add("Answer", "works", f"It wrote {sample.n_completion_tokens} tokens in {sample.latency_seconds:.2f} s.")


async def _test_adapters(endpoint: Endpoint, engine: Vllm, report: Report) -> None:
    what, rank = "Adapters", endpoint.max_lora_rank
    if not await engine.can_load_adapters():
        report.add(what, "fails", RUN_TIME_LORA_OFF, _restart_line(endpoint))
        return
    report.add(what, "works", "Adapters can be loaded while it runs.")
    slots = f"{endpoint.max_loras} adapter{'s' if endpoint.max_loras != 1 else ''} in one batch"
    if endpoint.reach == Endpoint.Reach.WORKER:
        report.add("Files", "unknown", "A worker beside it fetches the files; its last word is the state above.")
        report.add("Rank and slots", "unknown", f"Entered here: rank {rank}, {slots}. vLLM does not tell.")
        return
    directory = probe_adapter(endpoint, rank)
    if directory is None:
        report.add(
            "Files", "unknown", "The base model's config.json is not on this machine, so no adapter could be tried."
        )
        return
    name = f"whetstone-test-{new_key()}"
    try:
        await engine.load(name, path_on_server(endpoint, directory))
        await engine.unload(name)
    except BadRequest as problem:
        if "find" in problem.sentence:
            how = f"Let its host see {artifacts_root()}, enter a path mapping, or put a Whetstone worker beside it."
            report.add("Files", "fails", "It does not see the app's artifacts.", how, problem.detail)
        else:
            report.add("Rank and slots", "fails", problem.sentence, _restart_line(endpoint), problem.detail)
        return
    report.add("Files", "works", "It sees the app's artifacts.")
    report.add("Rank and slots", "works", f"An adapter of rank {rank} loads; entered here: {slots}.")


def _restart_line(endpoint: Endpoint) -> str:
    """What to type to get a vLLM that can do all that is needed."""
    return (
        f"VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 vllm serve {endpoint.base_model or 'MODEL'} "
        f"--served-model-name {endpoint.base_served_name or 'base'} --enable-lora "
        f"--max-loras {endpoint.max_loras} --max-lora-rank {endpoint.max_lora_rank}"
    )


def probe_adapter(endpoint: Endpoint, rank: int) -> Path | None:
    """An adapter of this rank that changes nothing, made for the endpoint's base; None if that is not on this machine."""
    try:
        config = json.loads((Path(endpoint.base_model) / "config.json").read_bytes())
        hidden = int(config["hidden_size"])
        heads = int(config["num_attention_heads"])
        out = heads * int(config.get("head_dim") or hidden // heads)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    directory = artifacts_root() / "probes" / f"{endpoint.key}-{rank}-{hidden}-{out}"
    directory.mkdir(parents=True, exist_ok=True)
    place = "base_model.model.model.layers.0.self_attn.q_proj"
    shapes = {f"{place}.lora_A.weight": (rank, hidden), f"{place}.lora_B.weight": (out, rank)}
    (directory / "adapter_model.safetensors").write_bytes(_zeros(shapes))
    adapter = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": rank, "bias": "none"}
    adapter |= {"target_modules": ["q_proj"], "base_model_name_or_path": None, "inference_mode": True}
    (directory / "adapter_config.json").write_text(json.dumps(adapter), encoding="utf-8")
    return directory


def _zeros(shapes: Mapping[str, tuple[int, int]]) -> bytes:
    """A safetensors file of zeros: eight bytes of length, a JSON header, the tensors."""
    header, at = {}, 0
    for name, (rows, columns) in shapes.items():
        n_bytes = rows * columns * 2
        header[name] = {"dtype": "BF16", "shape": [rows, columns], "data_offsets": [at, at + n_bytes]}
        at += n_bytes
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    return len(raw).to_bytes(8, "little") + raw + bytes(at)
