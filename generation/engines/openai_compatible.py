"""Any server that speaks OpenAI's chat API: sampling only. HTTP ends here; callers see answers or one of three errors.

The client is aiohttp. Measured against one vLLM (2 cores, 64 at a time, short answers): aiohttp 4,100 tokens/s with
0.35 ms of client time a request, the openai client 2,600, httpx 1,100: client and server share the machine, so what the
client burns the model lacks. One request asks for one answer: n = 4 in one request was no faster, and a seed for each
answer makes every answer repeatable by itself.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp

from generation.engines.base import (
    BadRequest,
    EngineBusy,
    EngineDown,
    GarbledAnswer,
    Health,
    Sample,
    SampleRequest,
    Sampling,
    ServedModel,
    UnknownModel,
    plain_messages,
    wire_name,
)

CONNECT_TIMEOUT_SECONDS = 5.0
HEALTH_TIMEOUT_SECONDS = 5.0
MAX_BODY_BYTES = 8 << 20
FINISHED = frozenset({"stop", "length"})
TOO_LONG = re.compile(r"context length|maximum context|too long|max_model_len|longer than", re.IGNORECASE)
JSON = dict[str, Any]


class OpenAICompatible:
    """An engine behind an OpenAI-shaped API. Use it within one event loop, and ``close`` it (or ``async with``)."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str = "",
        timeout_seconds: float = 120.0,
        max_model_len: int | None = None,
    ) -> None:
        parts = urlsplit(base_url)
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or parts.username
            or parts.query
            or parts.fragment
        ):
            raise ValueError("the address of an engine is http(s)://host[:port][/path]")
        self.base_url = base_url.rstrip("/").removesuffix("/v1")
        self.max_model_len = max_model_len
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds, connect=CONNECT_TIMEOUT_SECONDS)
        # Not compressed: the byte budget below must count what reaches the memory.
        self._headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {api_key}"} if api_key else {})
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    # --- Engine ------------------------------------------------------------------------------------------------------

    async def health(self) -> Health:
        try:
            models = await self.served(timeout_seconds=HEALTH_TIMEOUT_SECONDS)
        except (EngineBusy, EngineDown, BadRequest) as problem:
            return Health(is_ready=False, message=problem.sentence)
        if not models:
            return Health(is_ready=False, message="It answers, but serves no model.")
        return Health(is_ready=True, models=models, version=await self._version())

    async def sample(self, request: SampleRequest) -> list[Sample]:
        body = self._body(request)
        if len(request.seeds) == 1:
            return [await self._one(body, request.model, request.seeds[0])]
        asked = [asyncio.ensure_future(self._one(body, request.model, seed)) for seed in request.seeds]
        try:
            return list(await asyncio.gather(*asked))
        finally:  # all or an error: an answer that nobody will take is not waited for
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    async def served(self, *, timeout_seconds: float | None = None) -> tuple[ServedModel, ...]:
        answer = await self._ask("GET", "/v1/models", timeout_seconds=timeout_seconds)
        cards = answer.get("data")
        if not isinstance(cards, list) or not all(isinstance(c, dict) and isinstance(c.get("id"), str) for c in cards):
            raise GarbledAnswer("Its list of models cannot be read.", detail=str(answer))
        return tuple(
            ServedModel(
                name=card["id"],
                root=str(card.get("root") or ""),
                parent=str(card.get("parent") or ""),
                max_model_len=card["max_model_len"] if isinstance(card.get("max_model_len"), int) else None,
            )
            for card in cards
        )

    # --- what one answer costs ---------------------------------------------------------------------------------------

    def _body(self, request: SampleRequest) -> JSON:
        """Typed fields only: nothing that a user wrote can become a parameter."""
        sampling = request.sampling.clamped(self.max_model_len)
        body: JSON = {
            "model": wire_name(request.model),
            "messages": plain_messages(request.messages),
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            **self._vendor_fields(sampling),
        }
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        return body

    def _vendor_fields(self, sampling: Sampling) -> JSON:
        """Sampling that OpenAI's API has no name for. Refused rather than left out: a job says what was drawn how."""
        plain = Sampling()
        for name in ("top_k", "min_p", "repetition_penalty"):
            if getattr(sampling, name) != getattr(plain, name):
                raise BadRequest(f"This endpoint does not know {name}; leave it at {getattr(plain, name):g}.")
        return {}

    async def _one(self, body: JSON, model: str, seed: int) -> Sample:
        started = time.perf_counter()
        answer = await self._ask("POST", "/v1/chat/completions", {**body, "seed": seed}, model=model)
        return _sample_from(answer, model=model, seed=seed, latency_seconds=time.perf_counter() - started)

    async def _version(self) -> str:
        try:
            answer = await self._ask("GET", "/version", timeout_seconds=HEALTH_TIMEOUT_SECONDS)
        except (EngineBusy, EngineDown, BadRequest):
            return ""
        return str(answer.get("version", ""))[:60]

    # --- HTTP --------------------------------------------------------------------------------------------------------

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            # How many requests run at once is the caller's affair; a second limit here would only hide a queue.
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30)
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=self._timeout,
                headers=self._headers,
                trust_env=False,
                auto_decompress=False,
            )
        return self._session

    async def _ask(
        self,
        method: str,
        path: str,
        body: JSON | None = None,
        *,
        model: str = "",
        timeout_seconds: float | None = None,
    ) -> JSON:
        """The JSON object that the server answers, or one of the three errors."""
        raw = await self._ask_bytes(method, path, body, model=model, timeout_seconds=timeout_seconds)
        try:
            answer = json.loads(raw)
        except (ValueError, RecursionError) as problem:
            raise GarbledAnswer(
                "The engine's answer is not JSON.", detail=raw[:500].decode(errors="replace"), model=model
            ) from problem
        if not isinstance(answer, dict):
            raise GarbledAnswer("The engine's answer is not what its API promises.", detail=str(answer), model=model)
        return answer

    async def _ask_bytes(
        self,
        method: str,
        path: str,
        body: JSON | None = None,
        *,
        model: str = "",
        timeout_seconds: float | None = None,
    ) -> bytes:
        timeout = self._timeout
        if timeout_seconds is not None:
            timeout = aiohttp.ClientTimeout(
                total=timeout_seconds, connect=min(timeout_seconds, CONNECT_TIMEOUT_SECONDS)
            )
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data is not None else None
        try:
            async with self._open().request(
                method, self.base_url + path, data=data, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                raw = await _bounded(response)
                if response.status != 200:
                    raise_for(response.status, response.headers, raw, model=model)
                return raw
        except TimeoutError as problem:
            raise EngineDown("The engine did not answer in time.", detail=repr(problem), model=model) from problem
        except aiohttp.ClientConnectorError as problem:
            raise EngineDown("The engine cannot be reached.", detail=str(problem), model=model) from problem
        except (aiohttp.ClientError, OSError) as problem:
            raise EngineDown("The connection to the engine broke off.", detail=repr(problem), model=model) from problem


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    """The body, cut by a byte budget: an endless answer must not fill the memory."""
    length = response.content_length
    if length is not None and length <= MAX_BODY_BYTES:
        return await response.read()
    chunks, size = [], 0
    async for chunk in response.content.iter_chunked(1 << 16):
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise GarbledAnswer("The engine's answer is far too long.")
        chunks.append(chunk)
    return b"".join(chunks)


def raise_for(status: int, headers: Mapping[str, str], raw: bytes, *, model: str = "") -> None:
    """Translate an HTTP status that is not 200 into one of the three errors."""
    detail = f"{status}: {raw[:1000].decode(errors='replace')}"
    if status in (429, 503):
        raise EngineBusy("The engine is busy.", detail=detail, model=model, retry_after_seconds=_retry_after(headers))
    if status >= 500 or status == 408:
        raise EngineDown("The engine failed at the request.", detail=detail, model=model)
    if 300 <= status < 400:
        raise BadRequest("The address answers with a redirect, which is not followed.", detail=detail, model=model)
    if status in (401, 403):
        raise BadRequest("The engine refuses the key.", detail=detail, model=model)
    if status == 404:
        sentence = f"The engine does not serve {model}." if model else "The engine does not have this function."
        raise UnknownModel(sentence, detail=detail, model=model)
    if "max_tokens" in detail and "max_model_len" in detail:
        raise BadRequest(
            "The answer may be no longer than the model's context; lower max_tokens.", detail=detail, model=model
        )
    if TOO_LONG.search(detail):
        raise BadRequest("The prompt is longer than the model's context.", detail=detail, model=model)
    raise BadRequest("The engine refuses the request.", detail=detail, model=model)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    try:
        return min(max(float(headers.get("Retry-After", "")), 0.0), 300.0)
    except ValueError:
        return None


def _sample_from(answer: JSON, *, model: str, seed: int, latency_seconds: float) -> Sample:
    """Exactly one whole answer by exactly the model that was asked, or GarbledAnswer."""
    answered_by = answer.get("model")
    if answered_by != wire_name(model):
        raise GarbledAnswer(
            f"Asked {model}, but {str(answered_by)[:100]!r} answered.", detail=str(answer)[:500], model=model
        )
    choices = answer.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        n = len(choices) if isinstance(choices, list) else 0
        raise GarbledAnswer(f"Asked for one answer and got {n}.", detail=str(answer)[:500], model=model)
    message, finish_reason = choices[0].get("message"), choices[0].get("finish_reason")
    if finish_reason not in FINISHED:
        raise GarbledAnswer(
            "The answer was cut off by the engine.", detail=f"finish_reason={finish_reason!r}", model=model
        )
    text = message.get("content") if isinstance(message, dict) else None
    if text is None and isinstance(message, dict) and "content" in message:
        text = ""  # the model ended at once
    usage = answer.get("usage")
    counts = [usage.get(k) if isinstance(usage, dict) else None for k in ("prompt_tokens", "completion_tokens")]
    if not isinstance(text, str) or not all(type(count) is int and count >= 0 for count in counts):
        raise GarbledAnswer("The engine's answer lacks its text or its counts.", detail=str(answer)[:500], model=model)
    return Sample(
        text=text,
        seed=seed,
        model=model,
        finish_reason=str(finish_reason),
        n_prompt_tokens=int(counts[0] or 0),
        n_completion_tokens=int(counts[1] or 0),
        latency_seconds=latency_seconds,
    )
