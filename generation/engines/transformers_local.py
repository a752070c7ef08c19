"""The in-process engine: transformers behind the part of vLLM's API that Whetstone uses. A program, started by ``LocalServer``.

For machines where vLLM cannot be installed; in bulk about three times slower. Requests that wait are answered in
batches; each row draws with its own seeded generator, so an answer does not depend on who else was in its batch.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from aiohttp import web
from transformers import AutoModelForCausalLM, AutoTokenizer

from generation.engines.base import MAX_STOP_CHARS, MAX_STOPS

logger = logging.getLogger("engine")
VERSION = "transformers"
BATCH_WAIT_SECONDS = 0.005


class Refused(Exception):
    """A request that cannot be answered as asked: 400, or 404 for a model that is not served."""

    def __init__(self, sentence: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.sentence, self.status = sentence, status


@dataclass
class Row:
    """One answer that is asked for, and what has been written of it."""

    model: str
    prompt: list[int]
    seed: int
    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    repetition_penalty: float
    stop: tuple[str, ...]
    allowed: tuple[int, ...] = ()
    done: asyncio.Future[None] | None = None
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish_reason: str = ""


class Model:
    """The base with its adapters. Everything here runs in one thread: the batcher's."""

    def __init__(self, path: str, *, max_model_len: int, max_lora_rank: int) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
        self.model: Any = AutoModelForCausalLM.from_pretrained(
            path, dtype=torch.float32, trust_remote_code=False, use_safetensors=True
        ).eval()
        limit = int(getattr(self.model.config, "max_position_embeddings", 0) or 4096)
        self.max_model_len = min(max_model_len, limit) if max_model_len else limit
        self.max_lora_rank = max_lora_rank
        self.path = path
        self.adapters: dict[str, tuple[str, str]] = {}  # served name -> (name within peft, directory)
        self._n_loaded = 0
        ends = self.model.generation_config.eos_token_id
        self.ends = set(ends if isinstance(ends, list) else [ends]) | {self.tokenizer.eos_token_id}
        pad = self.tokenizer.pad_token_id
        self.pad = pad if pad is not None else self.tokenizer.eos_token_id

    def load_adapter(self, name: str, directory: str) -> None:
        try:
            config = json.loads((Path(directory) / "adapter_config.json").read_bytes())
            rank = int(config["r"])
        except (OSError, ValueError, KeyError, TypeError):
            raise Refused(f"Loading lora {name} failed: No adapter found", 404) from None
        if rank > self.max_lora_rank:
            raise Refused(f"LoRA rank {rank} is greater than max_lora_rank {self.max_lora_rank}.")
        from peft import PeftModel

        inner = f"adapter_{self._n_loaded}"
        self._n_loaded += 1
        if isinstance(self.model, PeftModel):
            self.model.load_adapter(directory, inner, is_trainable=False)
        else:
            self.model = PeftModel.from_pretrained(self.model, directory, adapter_name=inner, is_trainable=False)
        self.model.eval()
        self.adapters[name] = (inner, directory)

    def unload_adapter(self, name: str) -> None:
        inner, _ = self.adapters.pop(name)
        if len(self.model.peft_config) > 1:  # peft needs one; the last stays, unused, under a name nobody can ask for
            self.model.delete_adapter(inner)

    @torch.inference_mode()
    def answer(self, rows: Sequence[Row], *, served_name: str) -> None:
        """Write all rows (of one model) to their ends."""
        name = rows[0].model
        if name == served_name and not self._has_adapters:
            self._generate(rows)
        elif name == served_name:
            with self.model.disable_adapter():
                self._generate(rows)
        else:
            self.model.set_adapter(self.adapters[name][0])
            self._generate(rows)

    @property
    def _has_adapters(self) -> bool:
        return hasattr(self.model, "peft_config")

    def _generate(self, rows: Sequence[Row]) -> None:
        width = max(len(row.prompt) for row in rows)
        ids = torch.full((len(rows), width), self.pad)
        mask = torch.zeros((len(rows), width), dtype=torch.long)
        for i, row in enumerate(rows):  # padded on the left, so that every row's next token stands in the last column
            ids[i, width - len(row.prompt) :] = torch.tensor(row.prompt)
            mask[i, width - len(row.prompt) :] = 1
        generators = [torch.Generator().manual_seed(row.seed) for row in rows]
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        cache, step_ids, step_positions = None, ids, positions
        while True:
            out = self.model(
                input_ids=step_ids,
                attention_mask=mask,
                position_ids=step_positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            cache, logits = out.past_key_values, out.logits[:, -1].float()  # (B, V)
            logprobs = torch.log_softmax(logits, dim=-1)  # raw: before temperature, masks and penalties
            chosen = torch.full((len(rows), 1), self.pad)
            for i, row in enumerate(rows):
                if row.finish_reason:
                    continue
                token = _draw(row, logits[i], generators[i])
                row.tokens.append(token)
                row.logprobs.append(float(logprobs[i, token]))
                row.finish_reason = self._finish_reason(row, token)
                chosen[i, 0] = token
            if all(row.finish_reason for row in rows):
                return
            mask = torch.cat([mask, torch.ones((len(rows), 1), dtype=torch.long)], dim=1)
            step_ids, step_positions = chosen, step_positions[:, -1:] + 1

    def _finish_reason(self, row: Row, token: int) -> str:
        if token in self.ends:
            return "stop"
        if row.stop and any(stop in self.text_of(row) for stop in row.stop):
            return "stop"
        return "length" if len(row.tokens) >= row.max_tokens else ""

    def text_of(self, row: Row) -> str:
        return str(self.tokenizer.decode([t for t in row.tokens if t not in self.ends], skip_special_tokens=True))

    def answer_text(self, row: Row) -> str:
        """The text, cut before the first stop."""
        text = self.text_of(row)
        cuts = [at for stop in row.stop if (at := text.find(stop)) >= 0]
        return text[: min(cuts)] if cuts else text


def _draw(row: Row, logits: torch.Tensor, generator: torch.Generator) -> int:
    if row.allowed:
        masked = torch.full_like(logits, -torch.inf)
        masked[list(row.allowed)] = logits[list(row.allowed)]
        logits = masked
    if row.repetition_penalty != 1.0:
        seen = torch.tensor(sorted({*row.prompt, *row.tokens}))
        values = logits[seen]
        logits = logits.clone()
        logits[seen] = torch.where(values > 0, values / row.repetition_penalty, values * row.repetition_penalty)
    if row.temperature == 0:
        return int(logits.argmax())
    probabilities = torch.softmax(logits / row.temperature, dim=-1)
    if row.top_k > 0:
        floor = probabilities.topk(min(row.top_k, len(probabilities))).values[-1]
        probabilities = probabilities.masked_fill(probabilities < floor, 0.0)
    if row.min_p > 0:
        probabilities = probabilities.masked_fill(probabilities < row.min_p * probabilities.max(), 0.0)
    if row.top_p < 1:
        ordered, order = probabilities.sort(descending=True)
        # Kept: every token before which less than top_p has been used up; the first always is.
        beyond = (ordered.cumsum(0) - ordered) >= row.top_p * ordered.sum()
        probabilities[order[beyond]] = 0.0
    return int(torch.multinomial(probabilities, 1, generator=generator))


class Batcher:
    """Takes what waits, a batch of one model at a time, and answers it in a thread of its own."""

    def __init__(self, model: Model, served_name: str, max_batch: int) -> None:
        self.model, self.served_name, self.max_batch = model, served_name, max_batch
        self.waiting: list[Row] = []
        self.news = asyncio.Event()
        self.lock = asyncio.Lock()  # a batch, or a change of adapters: never both

    async def ask(self, rows: Sequence[Row]) -> None:
        loop = asyncio.get_running_loop()
        for row in rows:
            row.done = loop.create_future()
            self.waiting.append(row)
        self.news.set()
        await asyncio.gather(*(row.done for row in rows if row.done))

    async def work(self) -> None:
        while True:
            await self.news.wait()
            await asyncio.sleep(BATCH_WAIT_SECONDS)  # those sent together arrive together
            async with self.lock:
                batch = self._take()
                if not batch:
                    self.news.clear()
                    continue
                try:
                    if batch[0].model != self.served_name and batch[0].model not in self.model.adapters:
                        raise Refused(f"The model `{batch[0].model}` does not exist.", 404)
                    await asyncio.to_thread(self.model.answer, batch, served_name=self.served_name)
                    failure: Exception | None = None
                except Exception as problem:
                    if not isinstance(problem, Refused):
                        logger.exception("A batch failed.")
                    failure = problem
                for row in batch:
                    if row.done and not row.done.done():
                        row.done.set_exception(failure) if failure else row.done.set_result(None)

    def _take(self) -> list[Row]:
        self.waiting = [row for row in self.waiting if row.done and not row.done.cancelled()]
        if not self.waiting:
            return []
        name = self.waiting[0].model
        # Rows of like length: what is padded is computed all the same.
        mine = sorted((row for row in self.waiting if row.model == name), key=lambda row: row.max_tokens)[
            : self.max_batch
        ]
        taken = {id(row) for row in mine}
        self.waiting = [row for row in self.waiting if id(row) not in taken]
        return mine


class Server:
    def __init__(self, model: Model, served_name: str, max_batch: int) -> None:
        self.model, self.served_name = model, served_name
        self.batcher = Batcher(model, served_name, max_batch)

    def application(self) -> web.Application:
        app = web.Application(middlewares=[_refusals], client_max_size=8 << 20)
        app.add_routes(
            [
                web.get("/health", self.health),
                web.get("/version", self.version),
                web.get("/v1/models", self.models),
                web.post("/v1/chat/completions", self.chat),
                web.post("/v1/completions", self.completions),
                web.post("/v1/load_lora_adapter", self.load),
                web.post("/v1/unload_lora_adapter", self.unload),
                web.post("/tokenize", self.tokenize),
            ]
        )
        app.cleanup_ctx.append(self._batching)
        return app

    async def _batching(self, _app: web.Application) -> Any:
        task = asyncio.create_task(self.batcher.work())
        yield
        task.cancel()

    async def health(self, _: web.Request) -> web.Response:
        return web.Response()

    async def version(self, _: web.Request) -> web.Response:
        from importlib.metadata import version

        return web.json_response({"version": f"transformers {version('transformers')}"})

    async def models(self, _: web.Request) -> web.Response:
        base = {"id": self.served_name, "object": "model", "root": self.model.path, "parent": None}
        cards = [base | {"max_model_len": self.model.max_model_len}]
        for name, (_inner, directory) in self.model.adapters.items():
            cards.append({"id": name, "object": "model", "root": directory, "parent": self.served_name})
        return web.json_response({"object": "list", "data": cards})

    async def chat(self, request: web.Request) -> web.Response:
        body = await _json(request)
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise Refused("messages must be a list")
        try:
            encoded = self.model.tokenizer.apply_chat_template(
                messages, tokenize=True, add_generation_prompt=True, return_dict=True
            )
            prompt = list(encoded["input_ids"])
        except Exception as problem:  # templates raise what they like
            raise Refused(f"The chat template refuses these messages: {problem}") from problem
        row = self._row(body, prompt)
        await self.batcher.ask([row])
        choice = {"index": 0, "message": {"role": "assistant", "content": self.model.answer_text(row)}}
        return web.json_response(self._answer(body, row, "chat.completion", choice))

    async def completions(self, request: web.Request) -> web.Response:
        body = await _json(request)
        prompt = body.get("prompt")
        if isinstance(prompt, str):
            prompt = self.model.tokenizer.encode(prompt)
        if not isinstance(prompt, list) or not all(isinstance(token, int) for token in prompt):
            raise Refused("prompt must be a text or a list of token ids")
        row = self._row(body, prompt)
        await self.batcher.ask([row])
        choice: dict[str, Any] = {"index": 0, "text": self.model.answer_text(row)}
        if body.get("logprobs") is not None:
            names = [f"token_id:{token}" for token in row.tokens]
            choice["logprobs"] = {"tokens": names, "token_logprobs": row.logprobs}
        return web.json_response(self._answer(body, row, "text_completion", choice))

    def _answer(self, body: dict[str, Any], row: Row, kind: str, choice: dict[str, Any]) -> dict[str, Any]:
        n_in, n_out = len(row.prompt), len(row.tokens)
        usage = {"prompt_tokens": n_in, "completion_tokens": n_out, "total_tokens": n_in + n_out}
        choice["finish_reason"] = row.finish_reason
        return {
            "id": f"{kind}-{row.seed}",
            "object": kind,
            "created": int(time.time()),
            "model": body["model"],
            "choices": [choice],
            "usage": usage,
        }

    def _row(self, body: dict[str, Any], prompt: list[int]) -> Row:
        name = body.get("model")
        if name != self.served_name and name not in self.model.adapters:
            raise Refused(f"The model `{name}` does not exist.", 404)
        if int(body.get("n") or 1) != 1:
            raise Refused("n must be 1: ask once for each answer")
        room = self.model.max_model_len - len(prompt)
        vocabulary = self.model.model.config.vocab_size
        if not prompt or not all(0 <= token < vocabulary for token in prompt):
            raise Refused("the prompt holds no tokens, or tokens that are not in the vocabulary")
        try:
            max_tokens = int(body.get("max_tokens") or max(room, 1))
            stop = body.get("stop") or []
            row = Row(
                model=str(name),
                prompt=prompt,
                seed=int(body.get("seed") or 0),
                max_tokens=max_tokens,
                temperature=float(body.get("temperature", 1.0)),
                top_p=float(body.get("top_p", 1.0)),
                top_k=max(int(body.get("top_k") or 0), 0),
                min_p=float(body.get("min_p") or 0.0),
                repetition_penalty=float(body.get("repetition_penalty") or 1.0),
                stop=tuple([stop] if isinstance(stop, str) else stop),
                allowed=tuple(int(token) for token in body.get("allowed_token_ids") or ()),
            )
        except (TypeError, ValueError) as problem:
            raise Refused(f"a parameter has the wrong type: {problem}") from problem
        if max_tokens > room:
            raise Refused(
                f"This model's maximum context length is {self.model.max_model_len} tokens. However, you requested "
                f"{max_tokens} output tokens and your prompt contains {len(prompt)} input tokens."
            )
        if max_tokens < 1 or row.temperature < 0 or not 0 < row.top_p <= 1 or row.repetition_penalty <= 0:
            raise Refused("a sampling parameter is out of range")
        if len(row.stop) > MAX_STOPS or any(len(text) > MAX_STOP_CHARS for text in row.stop):
            raise Refused("too many or too long stop texts")
        if any(not 0 <= token < vocabulary for token in row.allowed):
            raise Refused("allowed_token_ids holds a token that is not in the vocabulary")
        return row

    async def load(self, request: web.Request) -> web.Response:
        body = await _json(request)
        name, path = body.get("lora_name"), body.get("lora_path")
        if not (isinstance(name, str) and isinstance(path, str) and name and path):
            raise Refused("Both 'lora_name' and 'lora_path' must be provided.")
        if name == self.served_name:
            raise Refused(f"The lora adapter '{name}' conflicts with a served base model.")
        async with self.batcher.lock:
            if name in self.model.adapters:
                raise Refused(f"The lora adapter '{name}' has already been loaded.")
            try:
                await asyncio.to_thread(self.model.load_adapter, name, path)
            except Refused:
                raise
            except Exception as problem:
                logger.exception("An adapter could not be loaded.")
                raise Refused(f"Loading lora {name} failed: {problem}") from problem
        return web.Response(text=f"Success: LoRA adapter '{name}' added successfully.")

    async def unload(self, request: web.Request) -> web.Response:
        name = (await _json(request)).get("lora_name")
        async with self.batcher.lock:
            if name not in self.model.adapters:
                raise Refused(f"The lora adapter '{name}' cannot be found.", 404)
            await asyncio.to_thread(self.model.unload_adapter, str(name))
        return web.Response(text=f"Success: LoRA adapter '{name}' removed successfully.")

    async def tokenize(self, request: web.Request) -> web.Response:
        body = await _json(request)
        tokens = self.model.tokenizer.encode(str(body.get("prompt", "")), add_special_tokens=False)
        return web.json_response({"tokens": tokens, "count": len(tokens), "max_model_len": self.model.max_model_len})


async def _json(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError as problem:
        raise Refused("the body is not JSON") from problem
    if not isinstance(body, dict):
        raise Refused("the body is not a JSON object")
    return body


@web.middleware
async def _refusals(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        response: web.StreamResponse = await handler(request)
    except Refused as problem:
        body = {"error": {"message": problem.sentence, "type": "BadRequestError", "code": problem.status}}
        return web.json_response(body, status=problem.status)
    return response


def main() -> None:
    parser = argparse.ArgumentParser(description="The in-process engine")
    parser.add_argument("model")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--served-model-name", default="base")
    parser.add_argument("--max-lora-rank", type=int, default=32)
    parser.add_argument("--max-model-len", type=int, default=0)
    parser.add_argument("--max-batch", type=int, default=32)
    parser.add_argument("--adapters", type=json.loads, default={})
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logger.info("Starting to load model")
    model = Model(options.model, max_model_len=options.max_model_len, max_lora_rank=options.max_lora_rank)
    for name, directory in options.adapters.items():
        model.load_adapter(name, directory)
        logger.info("Loaded new LoRA adapter: %s", name)
    server = Server(model, options.served_model_name, options.max_batch)
    logger.info("Starting vLLM server on http://%s:%s (in-process)", options.host, options.port)
    web.run_app(server.application(), host=options.host, port=options.port, print=None, access_log=None)


if __name__ == "__main__":
    main()
