"""A worker beside a vLLM on another host: fetches adapters by hash, checks, loads and measures them, and reports.

    python -m generation.deploy_worker --app https://whetstone.example.org --vllm http://127.0.0.1:8000 \\
        --token-file token --dir /var/lib/whetstone

Needs this folder, Python 3.11 and aiohttp (every vLLM brings it): no Django, no database, no shared disk. The app decides what is
served; the worker holds no state but files named by their hash, so it may be killed at any time.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import logging
import math
import os
import re
import shutil
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, urlsplit

from core.ids import canonical_json, sha256_hex
from generation.engines.base import BadRequest, EngineBusy, EngineDown, EngineError, Health, Probe
from generation.engines.vllm import Vllm

logger = logging.getLogger("whetstone.deploy")
POLL_SECONDS = 3.0
STATE_EVERY_SECONDS = 30.0
CHUNK_BYTES = 1 << 20
FETCH_ATTEMPTS = 5
MANIFEST = "manifest.json"
SHA256 = re.compile(r"[0-9a-f]{64}")
# What an adapter consists of. Anything else in a manifest is refused before a byte of it is fetched.
SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
SAFE_ENDINGS = (".safetensors", ".json", ".jsonl", ".jinja", ".txt", ".md", ".model")


class AppError(Exception):
    """The app refused, or could not be reached. ``status`` is 0 for the latter."""

    def __init__(self, sentence: str, status: int = 0) -> None:
        super().__init__(sentence)
        self.status = status


class Untrue(Exception):
    """What came is not what its hash says; nothing of it is kept."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None  # a token must never travel to an address that somebody else chose


@dataclass
class App:
    """The app's API, with one token."""

    url: str
    token: str
    timeout_seconds: float = 30.0
    _opener: urllib.request.OpenerDirector = field(
        default_factory=lambda: urllib.request.build_opener(_NoRedirect()), repr=False
    )

    def open(self, path: str, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/api/v1/deploy/{path}", data=data, headers=dict(headers or {}))
        request.add_header("Authorization", f"Bearer {self.token}")
        request.add_header("Content-Type", "application/json")
        try:
            return self._opener.open(request, timeout=self.timeout_seconds)
        except urllib.error.HTTPError as problem:
            with problem:
                raise AppError(_sentence_of(problem), problem.code) from None
        except (urllib.error.URLError, OSError) as problem:
            raise AppError(f"The app cannot be reached: {problem}") from problem

    def call(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The app's answer; empty for "nothing to do" (204)."""
        try:
            with self.open(path, body) as response:
                raw = response.read()
            answer = json.loads(raw) if raw else {}
        except (OSError, ValueError) as problem:
            raise AppError(f"The app's answer cannot be read: {problem}") from problem
        if not isinstance(answer, dict):
            raise AppError("The app's answer cannot be read.")
        return answer


def _sentence_of(problem: urllib.error.HTTPError) -> str:
    try:
        said = json.loads(problem.read(4096))
        text = said.get("detail") or said.get("sentence") or said.get("error") or ""
    except (OSError, ValueError, AttributeError):
        text = ""
    return f"The app answers {problem.code}{f': {text}' if text else ''}"


# --- files, by hash --------------------------------------------------------------------------------------------------


def fetch(app: App, sha256: str, manifest: Mapping[str, Mapping[str, Any]], directory: Path) -> Path:
    """The artifact's directory below ``directory``, fetched unless it is there and whole. Every byte is checked.

    Raises Untrue when the bytes are not those of the hash, AppError when they cannot be had.
    """
    check_manifest(sha256, manifest)
    final = directory / "artifacts" / sha256
    if _is_whole(final, manifest):
        return final
    # Kept under the hash when a fetch breaks off, so that the next goes on where this one ended.
    part = directory / "artifacts" / f".part-{sha256}"
    part.mkdir(parents=True, exist_ok=True)
    for name, entry in sorted(manifest.items()):
        _fetch_file(app, sha256, name, entry, part / name)
    (part / MANIFEST).write_bytes(canonical_json(dict(manifest)))
    shutil.rmtree(final, ignore_errors=True)
    part.rename(final)
    return final


def check_manifest(sha256: str, manifest: Mapping[str, Mapping[str, Any]]) -> None:
    """The list must be the one of the hash, and hold nothing but an adapter's plain files."""
    if not SHA256.fullmatch(sha256) or sha256_hex(canonical_json(manifest)) != sha256:
        raise Untrue("The list of files is not the one of this hash.")
    for name, entry in manifest.items():
        parts = PurePosixPath(name).parts
        if not parts or not all(SAFE_NAME.fullmatch(part) for part in parts) or not name.endswith(SAFE_ENDINGS):
            raise Untrue(f"The file {name!r} does not belong into an adapter.")
        if not (isinstance(entry.get("n_bytes"), int) and SHA256.fullmatch(str(entry.get("sha256")))):
            raise Untrue(f"The list of files says nothing of {name!r}.")


def _fetch_file(app: App, sha256: str, name: str, entry: Mapping[str, Any], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(FETCH_ATTEMPTS):
        have = target.stat().st_size if target.exists() else 0
        if have < entry["n_bytes"] or not target.exists():
            try:
                _append(app, f"artifacts/{sha256}/{quote(name)}", target, have, entry["n_bytes"])
            except AppError as problem:
                if problem.status in (401, 403, 404) or attempt == FETCH_ATTEMPTS - 1:
                    raise
                time.sleep(min(2.0**attempt, 10.0))
                continue
        if target.stat().st_size == entry["n_bytes"] and _file_sha256(target) == entry["sha256"]:
            return
        if target.stat().st_size >= entry["n_bytes"]:
            target.unlink()  # whole and wrong: from the beginning
    raise Untrue(f"The bytes of {name} do not match their hash.")


def _append(app: App, path: str, target: Path, have: int, n_bytes: int) -> None:
    headers = {"Range": f"bytes={have}-"} if have else {}
    try:
        with app.open(path, headers=headers) as response, target.open("ab" if response.status == 206 else "wb") as file:
            left = n_bytes - (have if response.status == 206 else 0)
            while left > 0 and (chunk := response.read(min(CHUNK_BYTES, left))):
                file.write(chunk)
                left -= len(chunk)
            file.flush()
            os.fsync(file.fileno())
    except OSError as problem:
        raise AppError(f"The fetch broke off: {problem}") from problem


def _is_whole(directory: Path, manifest: Mapping[str, Mapping[str, Any]]) -> bool:
    return (directory / MANIFEST).exists() and all(
        (directory / name).is_file() and _file_sha256(directory / name) == entry["sha256"]
        for name, entry in manifest.items()
    )


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- the work --------------------------------------------------------------------------------------------------------


@dataclass
class Worker:
    """One vLLM, one app, one or more tokens (one for each project that deploys here)."""

    app_url: str
    tokens: tuple[str, ...]
    vllm_url: str
    directory: Path
    endpoint: str = "-"
    api_key: str = ""
    vllm_sees: str = ""  # where vLLM finds ``directory``, if it runs in a container with another view
    said: tuple[str, str] = ("", "")
    said_at: float = -math.inf

    def run(self, is_wanted: Callable[[], bool], poll_seconds: float = POLL_SECONDS) -> None:
        while is_wanted():
            for token in self.tokens:
                try:
                    self.once(App(self.app_url, token))
                except AppError as problem:
                    logger.warning("%s", problem)
                except EngineError as problem:
                    logger.warning("%s %s", problem.sentence, problem.detail)
            time.sleep(poll_seconds)

    def once(self, app: App) -> bool:
        """Bring vLLM to what the app wants, then do one deployment if one waits; says whether it did."""
        health = self._talk(lambda engine: engine.health())
        if not health.is_ready:
            self._say(app, "down", f"vLLM does not answer the worker: {health.message}")
            return False
        wanted = app.call(f"endpoints/{self.endpoint}/wanted")
        base = wanted["endpoint"]["base_served_name"]
        if not health.serves(base):
            self._say(app, "down", f"vLLM serves {', '.join(m.name for m in health.models)}, not {base}.")
            return False
        self._restore(app, health, wanted)
        self._say(app, "ready", "", health)
        claim = app.call(f"endpoints/{self.endpoint}/claim", {})
        if not claim:
            return False
        self._deploy(app, claim)
        return True

    def _restore(self, app: App, health: Health, wanted: Mapping[str, Any]) -> None:
        """Load again what a restart of vLLM has lost, before saying that it is ready; unload what is over."""
        missing = [adapter for adapter in wanted["serve"] if not health.serves(adapter["served_name"])]
        if missing:
            self._say(app, "starting", "Loading live adapters again")
        for adapter in missing:
            try:
                self._load(app, adapter)
            except (BadRequest, Untrue) as problem:  # one that cannot be had must not keep the others from answering
                logger.error("%s cannot be served: %s", adapter["served_name"], problem)
        for name in wanted["unload"]:
            if health.serves(name):
                self._unload(name)

    def _deploy(self, app: App, claim: Mapping[str, Any]) -> None:
        key, lease = claim["deployment"], claim["lease"]

        def beat(message: str) -> None:
            answer = app.call(f"deployments/{key}/beat", {"lease": lease, "message": message})
            if not answer["alive"] or answer["cancel"]:
                raise AppError("The app no longer wants this deployment.", 409)

        try:
            figures: list[float] = []
            if adapter := claim.get("adapter"):
                beat("Fetching the files")
                self._load(app, adapter, beat)
                beat("Asking the canary's questions")
                probes = [Probe(tuple(context), token) for context, token in claim["probes"]]
                figures = self._talk(lambda engine: engine.logprobs(adapter["served_name"], probes))
            result = app.call(f"deployments/{key}/loaded", {"lease": lease, "logprobs": figures})
            logger.info("Deployment %s: %s. %s", key, result["stage"], result["sentence"])
        except (BadRequest, Untrue) as problem:
            self._give_up(app, key, lease, str(problem), again=False)
        except (EngineDown, EngineBusy) as problem:
            self._give_up(app, key, lease, problem.sentence, again=True)

    def _give_up(self, app: App, key: str, lease: str, sentence: str, *, again: bool) -> None:
        logger.warning("Deployment %s: %s", key, sentence)
        app.call(f"deployments/{key}/failed", {"lease": lease, "sentence": sentence[:500], "again": again})

    def _load(self, app: App, adapter: Mapping[str, Any], beat: Callable[[str], None] = lambda _: None) -> None:
        directory = fetch(app, adapter["sha256"], adapter["manifest"], self.directory)
        beat("Loading into vLLM")
        seen = str(directory)
        if self.vllm_sees:
            seen = str(PurePosixPath(self.vllm_sees) / directory.relative_to(self.directory))
        self._talk(lambda engine: engine.load(adapter["served_name"], seen))
        logger.info("Loaded %s", adapter["served_name"])

    def _unload(self, name: str) -> None:
        self._talk(lambda engine: engine.unload(name))
        logger.info("Unloaded %s", name)

    def _say(self, app: App, state: str, message: str, health: Health | None = None) -> None:
        """Tell the app what vLLM is doing: at each change, and now and then, so that silence means something."""
        if (state, message) == self.said and time.monotonic() - self.said_at < STATE_EVERY_SECONDS:
            return
        facts: dict[str, Any] = {"version": health.version, "max_model_len": health.max_model_len} if health else {}
        try:
            app.call(f"endpoints/{self.endpoint}/state", {"state": state, "message": message[:500], **facts})
        except AppError as problem:
            if (
                problem.status != 403
            ):  # of this token's project nothing is deployed there yet: nobody asks for it either
                raise
        self.said, self.said_at = (state, message), time.monotonic()

    def _talk(self, conversation: Callable[[Vllm], Any]) -> Any:
        async def inner() -> Any:
            async with Vllm(self.vllm_url, api_key=self.api_key) as engine:
                return await conversation(engine)

        return asyncio.run(inner())


def read_tokens(path: Path) -> tuple[str, ...]:
    """One token a line. Refused if others can read the file: who has the token can deploy."""
    if path.stat().st_mode & 0o077:
        raise SystemExit(f"{path} can be read by others. Type: chmod 600 {path}")
    tokens = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    if not tokens:
        raise SystemExit(f"{path} holds no token.")
    return tokens


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m generation.deploy_worker", description=__doc__.split("\n\n")[0])
    parser.add_argument("--app", required=True, help="address of Whetstone")
    parser.add_argument("--vllm", required=True, help="address of vLLM as seen from here, e.g. http://127.0.0.1:8000")
    parser.add_argument(
        "--token-file", required=True, type=Path, help="file with an API token of scope deploy, one a line"
    )
    parser.add_argument("--dir", required=True, type=Path, help="where adapters are kept; vLLM must be able to read it")
    parser.add_argument(
        "--vllm-dir", default="", help="the same directory as vLLM sees it, if it differs (a container)"
    )
    parser.add_argument(
        "--endpoint", default="-", help="key of the endpoint; needed only where several wait for workers"
    )
    parser.add_argument("--poll-seconds", type=float, default=POLL_SECONDS)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    app = urlsplit(options.app)
    if app.scheme == "http" and app.hostname not in ("127.0.0.1", "localhost", "::1"):
        logger.warning("The token travels in clear text to %s; use https.", options.app)
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: stopped.append(number))
    worker = Worker(
        app_url=options.app.rstrip("/"),
        tokens=read_tokens(options.token_file),
        vllm_url=options.vllm,
        directory=options.dir.absolute(),
        endpoint=options.endpoint,
        api_key=os.environ.get("VLLM_API_KEY", ""),
        vllm_sees=options.vllm_dir,
    )
    logger.info("Working for %s beside %s", options.app, options.vllm)
    worker.run(lambda: not stopped, options.poll_seconds)


if __name__ == "__main__":
    main()
