"""Render a model's chat template with no way out: run as a script, in a process of its own, under hard limits.

    python -I generation/template_sandbox.py  < {"template": ..., "conversations": [...], "tokens": {...}}

A conversation has ``messages``, ``options`` and ``required``. The answer is one JSON object: ``{"texts": [...]}`` or
``{"error": sentence}``. A chat template is a program that came with the weights: it may loop for ever, ask for a
gigabyte, or reach for Python's internals. Imports nothing of ours.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any, NoReturn

CPU_SECONDS = 5
MEMORY_BYTES = 768 << 20
OUTPUT_CHARS = 200_000


def limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def environment() -> Any:
    """Jinja as transformers sets it up: immutable sandbox, trimmed blocks, loop controls, the ``generation`` tag."""
    from jinja2 import nodes
    from jinja2.exceptions import TemplateError
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        tags = {"generation"}

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.CallBlock(self.call_method("_pass"), [], [], body).set_lineno(line)

        def _pass(self, caller: Callable[[], str]) -> str:
            return caller()

    def refuse(message: str) -> NoReturn:
        raise TemplateError(message)

    def tojson(value: Any, ensure_ascii: bool = False, indent: Any = None, **_: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)

    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = refuse
    env.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return env


def render(asked: dict[str, Any]) -> dict[str, Any]:
    from jinja2.exceptions import SecurityError, TemplateError, TemplateSyntaxError

    try:
        template = environment().from_string(asked["template"])
    except TemplateSyntaxError as problem:
        return {"error": f"it does not parse: {problem.message}"}
    texts: list[str | None] = []
    for conversation in asked["conversations"]:
        try:
            pieces, n_chars = [], 0
            for piece in template.generate(
                messages=conversation["messages"], **conversation["options"], **asked["tokens"]
            ):
                pieces.append(piece)
                n_chars += len(piece)
                if n_chars > OUTPUT_CHARS:
                    return {"error": "it writes far more text than the conversation holds"}
            texts.append("".join(pieces))
        except SecurityError:
            return {"error": "it reaches for Python's internals"}
        except TemplateError as problem:
            texts.append(None)  # many templates refuse a system message, or two turns of one role: that is their right
            if conversation["required"]:
                return {"error": f"it refuses a plain conversation: {str(problem)[:200]}"}
        except MemoryError:
            return {"error": "it asks for too much memory"}
        except RecursionError:
            return {"error": "it calls itself without end"}
        except Exception as problem:
            return {"error": f"it fails: {type(problem).__name__}: {str(problem)[:200]}"}
    return {"texts": texts}


if __name__ == "__main__":
    import jinja2.sandbox  # noqa: F401 (loaded before the limits bite)

    question = json.loads(sys.stdin.read())
    limit()
    try:
        answer = render(question)
    except MemoryError:
        answer = {"error": "it asks for too much memory"}
    sys.stdout.write(json.dumps(answer))
