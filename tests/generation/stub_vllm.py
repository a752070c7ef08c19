"""A server that speaks as much of vLLM's API as we use, with switches for the faults a real vLLM cannot be asked to show.

Answers and adapters of a healthy server are tested against the real one; nothing that this one does well proves anything.
"""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that gave up waiting is what some tests are about."""


class StubVllm:
    """``fault`` is what goes wrong, ``n_faults`` how often (None: always). Log-probabilities come from the canary's file."""

    def __init__(self, base: str = "base") -> None:
        self.base = base
        self.adapters: dict[str, str] = {}
        self.requests: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.fault = ""
        self.n_faults: int | None = None
        self.keeps_serving_old = False
        self.noise = 0.0
        self.lora = True
        self.on_request: Any = None
        self._server = _Quiet(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> "StubVllm":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def bodies(self, path: str) -> list[dict[str, Any]]:
        return [body for asked, body, _ in self.requests if asked == path]

    def restart(self) -> None:
        """Forget every adapter, as a vLLM that was started again."""
        self.adapters.clear()

    # --- what it answers ---------------------------------------------------------------------------------------------

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if path in ("/health", "/version"):
            return 200, {"version": "0.0-stub"}
        if path == "/v1/models":
            cards = [{"id": self.base, "root": "/base", "parent": None, "max_model_len": 512}]
            return 200, {"data": cards + [{"id": n, "root": p, "parent": self.base} for n, p in self.adapters.items()]}
        if path.endswith("lora_adapter"):
            return self._lora(path, body)
        if path not in ("/v1/chat/completions", "/v1/completions"):
            return 404, {"detail": "Not Found"}
        if body["model"] != self.base and body["model"] not in self.adapters:
            return 404, {"error": {"message": f"The model `{body['model']}` does not exist."}}
        if path == "/v1/completions":
            return 200, self._logprob(body)
        choice = {"message": {"content": f"{body['model']} says {body['seed']}"}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 5, "completion_tokens": 3}
        return 200, {"model": body["model"], "choices": [choice], "usage": usage}

    def _lora(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if not self.lora:
            return 404, {"detail": "Not Found"}
        name = body["lora_name"]
        if not name:
            return 400, {"error": {"message": "Both 'lora_name' and 'lora_path' must be provided."}}
        if "unload" in path:
            if self.adapters.pop(name, None) is None:
                return 404, {"error": {"message": "cannot be found"}}
            return 200, "Success"
        if name in self.adapters:
            return 400, {"error": {"message": "has already been loaded"}}
        if not (Path(body["lora_path"]) / "adapter_config.json").exists():
            return 404, {"error": {"message": f"Loading lora {name} failed: No adapter found"}}
        self.adapters[name] = body["lora_path"]
        return 200, "Success"

    def _logprob(self, body: dict[str, Any]) -> dict[str, Any]:
        (token,) = body["allowed_token_ids"]
        value = -1.0
        if body["model"] in self.adapters:
            canary = json.loads((Path(self.adapters[body["model"]]) / "canary.json").read_text())
            figures = canary["logprobs"]["bfloat16"]["parent" if self.keeps_serving_old else "policy"]
            at = len(body["prompt"])
            for text, row in zip(canary["token_ids"], figures, strict=True):
                if text[:at] == body["prompt"] and text[at] == token:
                    value = row[at - 1] + self.noise
        logprobs = {"tokens": [f"token_id:{token}"], "token_logprobs": [value]}
        return {"model": body["model"], "choices": [{"text": "", "logprobs": logprobs, "finish_reason": "length"}]}

    # --- HTTP, and how it goes wrong ---------------------------------------------------------------------------------

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                self._reply({})

            def do_POST(self) -> None:
                self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def _reply(self, body: dict[str, Any]) -> None:
                stub.requests.append((self.path, body, dict(self.headers)))
                if stub.on_request:
                    stub.on_request(self.path, body)
                status, answer = stub.answer(self.path, body)
                if self.command == "POST" and self.path.endswith("completions") and stub.take_fault():
                    status, answer = self._spoil(status, answer)
                if status:
                    raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                    self.send_response(status)
                    if status == 429:
                        self.send_header("Retry-After", "3")
                    if status == 307:
                        self.send_header("Location", "http://127.0.0.1:9/")
                    self.send_header("Content-Length", str(len(raw)))
                    self.end_headers()
                    self.wfile.write(raw)

            def _spoil(self, status: int, answer: Any) -> tuple[int, Any]:
                fault = stub.fault
                if fault.isdigit():
                    return int(fault), {"error": {"message": "secret-internal-text"}}
                if fault == "slow":
                    time.sleep(3)
                elif fault == "garbage":
                    return 200, b"<html>not json"
                elif fault == "empty":
                    return 200, b""
                elif fault == "wrong model":
                    answer["model"] = "somebody-else"
                elif fault == "two choices":
                    answer["choices"] *= 2
                elif fault == "no choice":
                    answer["choices"] = []
                elif fault == "half an answer":
                    answer["choices"][0]["finish_reason"] = "abort"
                elif fault == "no text":
                    answer["choices"][0]["message"] = {}
                elif fault == "cut":
                    self.send_response(200)
                    self.send_header("Content-Length", "1000")
                    self.end_headers()
                    self.wfile.write(b'{"model":')
                    self.close_connection = True
                    return 0, None
                return status, answer

        return Handler

    def take_fault(self) -> bool:
        if not self.fault:
            return False
        if self.n_faults is None:
            return True
        self.n_faults -= 1
        return self.n_faults >= 0
