"""The in-process engine as a server to start: where vLLM cannot be installed, the same API from transformers.

Only its options stand here, without torch; ``transformers_local`` is the program.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from generation.engines.vllm import VllmServer, clean_environment

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class LocalOptions:
    """How the in-process engine is started; the names are those of ``VllmOptions``."""

    model: str
    home: Path
    served_name: str = "base"
    host: str = "127.0.0.1"
    port: int = 0
    max_loras: int = 4
    max_lora_rank: int = 32
    max_model_len: int = 0
    max_batch: int = 32
    threads: int = 0
    shutdown_timeout_seconds: int = 10
    offline: bool = True
    title: str = "the in-process engine"

    def command_line(self, port: int, adapters: Mapping[str, str], *, spawn: bool = False) -> list[str]:
        return [
            sys.executable, "-m", "generation.engines.transformers_local", self.model,
            "--host", self.host, "--port", str(port), "--served-model-name", self.served_name,
            "--max-lora-rank", str(self.max_lora_rank), "--max-model-len", str(self.max_model_len),
            "--max-batch", str(self.max_batch), "--adapters", json.dumps(dict(adapters)),
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        threads = self.threads or max(1, len(os.sched_getaffinity(0)) - 1)
        kept = clean_environment() | {
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": str(threads),
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        return kept | ({"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"} if self.offline else {})


class LocalServer(VllmServer):
    """The in-process engine on this machine; started, watched and ended like a vLLM."""

    def __init__(self, options: LocalOptions, *, first_port: int = 0) -> None:
        super().__init__(options, first_port=first_port)
