"""The protocols every engine keeps, the values that pass through them and the three ways an engine can fail.

An engine samples; a deployer can also be given a new model while it runs; a scorer judges answers with a reward model.
Nothing here knows HTTP or Django. Rule: a request is built from the typed fields below and from nothing else, so what a
user sends can never reach an engine as a parameter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

Message = Mapping[str, str]  # {"role": "system" | "user" | "assistant", "content": text}
ROLES = frozenset({"system", "user", "assistant"})

# A base has one name on its server, set when that starts, but each of its deployments has a name of its own, as every
# deployment has: ``base::k3x…`` is asked for as ``base``.
OWN_NAME = "::"

MAX_ANSWERS = 64  # answers one request may ask for
MAX_STOPS = 8
MAX_STOP_CHARS = 64
SMALLEST_ANSWER_TOKENS = 1


class EngineError(Exception):
    """Something an engine could not do.

    ``sentence`` is for a person and names no internals; ``detail`` (an excerpt of what the server said) is for the log
    and for site admins only.
    """

    def __init__(self, sentence: str, *, detail: str = "", model: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.detail = detail[:2000]
        self.model = model


class EngineBusy(EngineError):
    """The engine is there and full: ask again after a pause."""

    def __init__(
        self, sentence: str, *, detail: str = "", model: str = "", retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(sentence, detail=detail, model=model)
        self.retry_after_seconds = retry_after_seconds


class EngineDown(EngineError):
    """The engine did not answer, or not in a way that can be used: wait until it is healthy, then ask again."""


class GarbledAnswer(EngineDown):
    """It answered, but not what was asked: broken JSON, another number of answers, another model's name.

    A kind of "down", because the same question may be answered well by the same engine a moment later; nothing of the
    answer is kept, so there is never half a candidate nor one under the wrong name.
    """


class BadRequest(EngineError):
    """The engine understood and refuses: asking again gives the same refusal."""


class UnknownModel(BadRequest):
    """The engine does not serve a model of that name (an adapter that was not loaded, or not loaded again)."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How answers are drawn; frozen into a job, so that the same job always asks the same.

    top_k          0 = off
    min_p          0 = off
    stop           strings that end an answer; they are not part of it
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    max_tokens: int = 256
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        ranges: tuple[tuple[str, float, float], ...] = (
            ("temperature", 0.0, 5.0),
            ("top_p", 1e-6, 1.0),
            ("top_k", 0, 100_000),
            ("min_p", 0.0, 1.0),
            ("repetition_penalty", 0.1, 10.0),
            ("max_tokens", SMALLEST_ANSWER_TOKENS, 1_000_000),
        )
        for name, low, high in ranges:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise ValueError(f"{name} must be a number")
            if not low <= value <= high:
                raise ValueError(f"{name} must lie between {low:g} and {high:g}")
        if len(self.stop) > MAX_STOPS or any(not 0 < len(text) <= MAX_STOP_CHARS for text in self.stop):
            raise ValueError(f"stop takes at most {MAX_STOPS} texts of 1 to {MAX_STOP_CHARS} characters")

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Sampling:
        """Raises ValueError for an unknown field: nothing unnamed travels to an engine."""
        unknown = sorted(set(value) - set(cls.__dataclass_fields__))
        if unknown:
            raise ValueError(f"unknown sampling field: {', '.join(unknown)}")
        fields = dict(value)
        if "stop" in fields:
            fields["stop"] = tuple(fields["stop"] or ())
        return cls(**fields)

    def as_json(self) -> dict[str, Any]:
        return {
            name: list(v) if isinstance(v := getattr(self, name), tuple) else v for name in self.__dataclass_fields__
        }

    def clamped(self, max_model_len: int | None) -> Sampling:
        """The same sampling with ``max_tokens`` no longer than the model's context."""
        if not max_model_len or self.max_tokens <= max_model_len:
            return self
        return replace(self, max_tokens=max(SMALLEST_ANSWER_TOKENS, max_model_len))


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """One prompt, one model, one answer per seed."""

    model: str
    messages: Sequence[Message]
    seeds: Sequence[int]
    sampling: Sampling = field(default_factory=Sampling)

    def __post_init__(self) -> None:
        if not 1 <= len(self.seeds) <= MAX_ANSWERS:
            raise ValueError(f"a request asks for 1 to {MAX_ANSWERS} answers")
        check_messages(self.messages)


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer. ``model`` is the name the engine says answered; it always equals the name that was asked.

    finish_reason      "stop" (the model ended), "length" (cut at max_tokens or at the context's end)
    latency_seconds    from sending the request to having the whole answer
    """

    text: str
    seed: int
    model: str
    finish_reason: str
    n_prompt_tokens: int
    n_completion_tokens: int
    latency_seconds: float


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A name an engine answers to. ``parent`` is the base's name for an adapter; ``root`` the path it came from."""

    name: str
    root: str = ""
    parent: str = ""
    max_model_len: int | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """What an engine says of itself. ``message`` is a sentence for a person when it is not ready."""

    is_ready: bool
    message: str = ""
    models: tuple[ServedModel, ...] = ()
    version: str = ""

    @property
    def max_model_len(self) -> int | None:
        return next((model.max_model_len for model in self.models if model.max_model_len), None)

    def serves(self, name: str) -> bool:
        return any(model.name == name for model in self.models)


@dataclass(frozen=True, slots=True)
class Probe:
    """How likely is this token here? Ids and not words, so that no other tokenizer or template can disturb the answer."""

    context: tuple[int, ...]
    token: int


@runtime_checkable
class Engine(Protocol):
    """Can answer prompts. Errors: EngineBusy, EngineDown, BadRequest (and their kinds), nothing else."""

    async def health(self) -> Health:
        """Never raises: an engine that cannot be reached is a Health that is not ready and says why."""
        ...

    async def sample(self, request: SampleRequest) -> list[Sample]:
        """One answer per seed, in the order of the seeds; all of them or an error."""
        ...

    async def close(self) -> None: ...


@runtime_checkable
class Deployer(Protocol):
    """Can be given a version while it runs, under a name that was never used before."""

    async def load(self, served_name: str, path: str) -> None:
        """Serve the adapter in ``path`` (as the engine's host sees it). Loading a name twice is not an error."""
        ...

    async def unload(self, served_name: str) -> None:
        """Stop serving a name. Unloading a name that is not served is not an error."""
        ...

    async def served(self) -> tuple[ServedModel, ...]: ...

    async def logprobs(self, served_name: str, probes: Sequence[Probe]) -> list[float]:
        """Log-probability (nats) of each probe's token after its context, under a served model."""
        ...


def wire_name(served_name: str) -> str:
    """What a server calls the model of a deployment."""
    return served_name.partition(OWN_NAME)[0]


def check_messages(messages: Sequence[Message]) -> None:
    """Raise ValueError unless these are plain text turns: no media parts, no tools, no other keys."""
    if not messages:
        raise ValueError("a prompt needs at least one message")
    for message in messages:
        if set(message) != {"role", "content"}:
            raise ValueError("a message has a role and a content, nothing else")
        if message["role"] not in ROLES:
            raise ValueError(f"unknown role {message['role']!r}")
        if not isinstance(message["content"], str):
            raise ValueError("a message's content is text")


def plain_messages(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": message["role"], "content": message["content"]} for message in messages]
