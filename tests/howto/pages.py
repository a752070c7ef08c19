"""The pages of the docs as a reader copies from them: their code, and their examples run as they stand there.

An example is the code below one heading. Its blocks run in order in one directory, so that a block reads what those before it
wrote; a ``text`` block is what the block before it prints, where … stands for what differs each time (keys, hashes).
"""

import io
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.management import CommandError, call_command
from markdown_it import MarkdownIt

from config.env import ROOT

HOW_TO = ROOT / "docs" / "how-to"
EXAMPLE = "An example to run"
SECONDS = 120
# What stands at .venv/bin/python: a new process needs two seconds to load Django, so manage.py is answered by the test's own.
PYTHON = """#!{python} -IS
import json, os, socket, sys
if sys.argv[1:2] != ["manage.py"]:
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
with socket.create_connection(("127.0.0.1", int(os.environ["MANAGE_PORT"]))) as wire:
    wire.sendall(json.dumps(sys.argv[2:]).encode())
    wire.shutdown(socket.SHUT_WR)
    status, printed, told = json.loads(wire.makefile("rb").read())
sys.stdout.write(printed)
sys.stderr.write(told)
sys.exit(status)
"""


@dataclass(frozen=True)
class Code:
    """A piece of code of a page: ``language`` is empty where none is given, ``is_inline`` for one within a sentence."""

    language: str
    text: str
    heading: str
    is_inline: bool = False


def code_of(page: Path) -> Iterator[Code]:
    """Fenced and indented blocks, and what stands between backticks, in the order of the page."""
    heading, tokens = "", MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))
    for before, token in zip([None, *tokens], tokens, strict=False):
        if before is not None and before.type == "heading_open":
            heading = token.content
        if token.type in ("fence", "code_block"):
            yield Code(token.info.strip(), token.content, heading)
        for part in token.children or ():
            if part.type == "code_inline":
                yield Code("", part.content, heading, is_inline=True)


def example(page: str, heading: str = EXAMPLE) -> list[Code]:
    """The blocks below a heading of a how-to. Raises AssertionError if there are none."""
    found = [code for code in code_of(HOW_TO / f"{page}.md") if code.heading == heading and not code.is_inline]
    assert found, f"{page}.md has no code below {heading!r}"
    return found


def run_example(blocks: list[Code], directory: Path, **environment: str) -> list[str]:
    """Run the blocks in order; what each printed. Raises AssertionError where one fails, or prints other than the page says."""
    printed: list[str] = []
    for block in blocks:
        match block.language:
            case "sh":
                printed.append(_run(["bash", "-euo", "pipefail", "-c", block.text], directory, environment))
            case "python":
                printed.append(_run([sys.executable, "-c", block.text], directory, environment))
            case "text":
                assert re.fullmatch(_pattern(block.text), printed[-1]), f"said:\n{block.text}\nprinted:\n{printed[-1]}"
            case other:
                raise AssertionError(f"nothing is known to run {other!r}: {block.text}")
    return printed


def _pattern(text: str) -> str:
    return r"[^\n]*?".join(re.escape(part) for part in text.split("…"))


def _run(command: list[str], directory: Path, environment: Mapping[str, str]) -> str:
    """Run a program in the directory, and every manage.py that it calls in this process; what it printed."""
    python = directory / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True, exist_ok=True)
    python.write_text(PYTHON.format(python=sys.executable))
    python.chmod(0o755)
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as err,
    ):
        listening.settimeout(0.02)
        given = {"HF_HOME": str(directory / ".cache"), "MANAGE_PORT": str(listening.getsockname()[1]), **environment}
        with subprocess.Popen(command, cwd=directory, env={**os.environ, **given}, stdout=out, stderr=err) as program:
            try:
                while program.poll() is None:
                    with suppress(TimeoutError):
                        _answer(listening.accept()[0], directory)
            finally:
                program.kill()
        for stream in (out, err):
            stream.seek(0)
        printed = out.read()
        assert program.returncode == 0, f"{command[-1]}\nended with {program.returncode}:\n{printed}{err.read()}"
    return printed


def _answer(wire: socket.socket, directory: Path) -> None:
    with wire:
        wire.settimeout(SECONDS)
        arguments = json.loads(wire.makefile("rb").read())
        wire.sendall(json.dumps(_managed(arguments, directory)).encode())


def _managed(arguments: list[str], directory: Path) -> tuple[int, str, str]:
    out, err, before = io.StringIO(), io.StringIO(), Path.cwd()
    os.chdir(directory)
    try:
        call_command(*arguments, stdout=out, stderr=err)
        status = 0
    except CommandError as problem:
        status = problem.returncode
        err.write(f"CommandError: {problem}\n")
    finally:
        os.chdir(before)
    return status, out.getvalue(), err.getvalue()


def rows_in(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
