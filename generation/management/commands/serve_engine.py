"""Start the local engine, keep it running and say on its endpoint's row what it is doing."""

import shlex
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, close_old_connections
from django.db.models import F

from core.errors import DomainError
from generation.artifacts import model_directory
from generation.deploy import adapters_on, reload_missing
from generation.endpoints import facts_of, managed_endpoint, note_state, talk
from generation.engines.base import EngineDown, EngineError
from generation.engines.local import LocalOptions, LocalServer
from generation.engines.vllm import Vllm, VllmOptions, VllmServer, installed_build, supervise
from generation.models import Endpoint

NOTE_ATTEMPTS = 30


class Command(BaseCommand):
    help = (
        "Start and supervise the engine of this machine's endpoint: vLLM, or the in-process engine where it is missing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--endpoint", help="name of the endpoint; default: the one that Whetstone manages")

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()

        def ask_to_stop(_number: int, _frame: FrameType | None) -> None:
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, ask_to_stop)
        endpoint = _wait_for_row(options["endpoint"], stop)
        if endpoint is None:
            return
        server = _server_for(endpoint)
        Supervisor(endpoint, server, self._say).run(stop)

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def _wait_for_row(name: str | None, stop: threading.Event) -> Endpoint | None:
    """The endpoint's row; the process may be started before anybody made one."""
    while not stop.is_set():
        close_old_connections()
        endpoint = Endpoint.objects.filter(name=name).first() if name else managed_endpoint()
        if endpoint is not None:
            return endpoint
        if name:
            raise CommandError(f"There is no endpoint named {name}.")
        stop.wait(1)
    return None


def _server_for(endpoint: Endpoint) -> VllmServer:
    env = settings.WHETSTONE
    model = _base_directory(endpoint)
    first_port = _port_of(endpoint)
    common: dict[str, Any] = {
        "model": model,
        "served_name": endpoint.base_served_name or "base",
        "max_loras": endpoint.max_loras,
        "max_lora_rank": endpoint.max_lora_rank,
        "max_model_len": env.vllm_max_model_len,
        "threads": env.vllm_threads,
        "offline": env.hub_offline,
    }
    build = installed_build()
    if endpoint.engine == Endpoint.Engine.LOCAL or (build is None and not env.vllm_command):
        if endpoint.engine != Endpoint.Engine.LOCAL:
            raise CommandError("vLLM is not installed here. Run `make setup`, or set WHETSTONE_ENGINE=transformers.")
        return LocalServer(LocalOptions(**common, home=env.path("engine")), first_port=first_port)
    options = VllmOptions(
        **common,
        home=env.path("vllm"),
        max_cpu_loras=env.vllm_max_cpu_loras,
        kv_cache_gib=env.vllm_kv_cache_gib,
        gpu_memory_utilization=env.vllm_gpu_memory_utilization,
        command=tuple(shlex.split(env.vllm_command)),
        extra_arguments=tuple(shlex.split(env.vllm_extra_args)),
        build=build or "cuda",
        dtype="bfloat16" if build == "cpu" else "auto",
    )
    return VllmServer(options, first_port=first_port)


def _base_directory(endpoint: Endpoint) -> str:
    """The path (or hub id) of the base: as entered, or that of the registered model of this name."""
    if endpoint.base_model:
        return endpoint.base_model
    live = endpoint.deployments.select_related("model_version").order_by("-pk").first()
    if live is None:
        raise CommandError(f"The endpoint {endpoint} names no base model to serve.")
    return model_directory(live.model_version.root)


def _port_of(endpoint: Endpoint) -> int:
    try:
        return int(endpoint.base_url.rsplit(":", 1)[1])
    except (IndexError, ValueError):
        return 0


class Supervisor:
    """Runs one server and mirrors its state on the endpoint's row."""

    def __init__(self, endpoint: Endpoint, server: VllmServer, say: Callable[[str], None]) -> None:
        self.endpoint = endpoint
        self.server = server
        self.say = say

    def run(self, stop: threading.Event) -> None:
        supervise(
            self.server,
            stop=stop,
            adapters=self._adapters,
            on_state=self._note,
            start_timeout_seconds=settings.WHETSTONE.vllm_start_timeout_seconds,
        )

    def _adapters(self) -> dict[str, str]:
        try:
            close_old_connections()
            self.endpoint.refresh_from_db()
            return adapters_on(self.endpoint)
        except DatabaseError as problem:  # tried again after a pause, as any failed start
            raise EngineDown("The database cannot be read.", detail=str(problem)) from problem

    def _note(self, state: str, message: str) -> None:
        """Write the state. A database that cannot be written now must not take the engine down with it."""
        self.say(f"{state}: {message}" if message else state)
        for attempt in range(NOTE_ATTEMPTS):
            try:
                close_old_connections()
                self._write(state, message)
                return
            except (DatabaseError, EngineError, DomainError) as problem:
                if state != Endpoint.State.READY or attempt == NOTE_ATTEMPTS - 1:
                    self.say(f"The state could not be written: {problem}")
                    return
                time.sleep(1)  # nobody sends it work before it is said to be ready

    def _write(self, state: str, message: str) -> None:
        facts: dict[str, Any] = {}
        if state == Endpoint.State.READY:
            Endpoint.objects.filter(pk=self.endpoint.pk).update(base_url=self.server.base_url)
            self.endpoint.refresh_from_db()
            reload_missing(self.endpoint)  # what went live in the very moment of the start
            facts = self._facts() | {"generation": F("generation") + 1}
        note_state(self.endpoint, state, message, **facts)

    def _facts(self) -> dict[str, Any]:
        return facts_of(talk(Vllm(self.server.base_url), lambda engine: engine.health()))
