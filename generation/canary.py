"""The canary: proof that a server serves the weights that were trained, and not the ones before.

The trainer writes ``canary.json`` beside an adapter: token ids of fixed texts and, for each token, its log-probability under
the new policy and under its parent, in bfloat16 as servers hold weights. The server is asked for the same figures.
No Django and no HTTP here; the worker beside a far vLLM uses it too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from generation.engines.base import Probe

FILE = "canary.json"
MAX_PROBES = 192

# Mean nats per token between the server's figures and the trainer's, both in bfloat16. Measured with vLLM's CPU build and the
# starter model: 0.008 to 0.010 for adapters that moved their parent by 0.14 to 0.24. Larger models on a GPU differ
# more between their kernels, so the gate stands five times wider.
TOLERANCE_NATS = 0.05
# Along the change from parent to policy the right adapter stands at 1 and the parent at 0; half way is nearer to neither.
LEAST_SHARE_OF_CHANGE = 0.5


class CanaryError(Exception):
    """The canary's file cannot be used; the message is for a person."""


@dataclass(frozen=True)
class Canary:
    """What the trainer measured, in nats: one figure for each probe."""

    probes: tuple[Probe, ...]
    policy: tuple[float, ...]
    parent: tuple[float, ...]

    @property
    def change(self) -> float:
        """Mean absolute change from parent to policy, nats per token."""
        return mean_abs(self.policy, self.parent)


@dataclass(frozen=True)
class Finding:
    """What the canary says of one server. ``sentence`` is for a person; the figures are nats per token.

    share   how far along the change from parent (0) to policy (1) the server stands
    """

    passed: bool
    sentence: str
    change: float
    disagreement: float | None = None
    share: float | None = None
    tolerance: float = TOLERANCE_NATS
    n_probes: int = 0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def read_canary(directory: Path) -> Canary:
    """Raises CanaryError when there is no file, or none that can be used."""
    try:
        found = json.loads((directory / FILE).read_bytes())
    except FileNotFoundError:
        raise CanaryError(
            "This version has no canary.json, so nothing could show that a server really serves it. Train it again."
        ) from None
    except (OSError, ValueError) as problem:
        raise CanaryError("The version's canary.json cannot be read.") from problem
    return parse_canary(found)


def parse_canary(found: Any) -> Canary:
    try:
        texts = [[int(token) for token in text] for text in found["token_ids"]]
        figures = found["logprobs"]["bfloat16"]
        rows = [
            (Probe(tuple(text[:at]), text[at]), float(policy[at - 1]), float(parent[at - 1]))
            for text, policy, parent in zip(texts, figures["policy"], figures["parent"], strict=True)
            for at in range(1, len(text))
        ]
        if not rows or not all(math.isfinite(policy) and math.isfinite(parent) for _, policy, parent in rows):
            raise ValueError("no finite figures")
    except (KeyError, TypeError, ValueError, IndexError) as problem:
        raise CanaryError("The version's canary.json cannot be read.") from problem
    # Evenly over all texts: each probe is one request to a server that may be serving people.
    step = max(1.0, len(rows) / MAX_PROBES)
    kept = [rows[int(i * step)] for i in range(min(len(rows), MAX_PROBES))]
    probes, policies, parents = zip(*kept, strict=True)
    return Canary(probes, policies, parents)


def judge_canary(canary: Canary, served: Sequence[float]) -> Finding:
    """Whether the served log-probabilities are the new policy's. Pure; the same figures give the same finding."""
    change, n = canary.change, len(canary.probes)
    if change == 0.0:
        return Finding(False, "This adapter changes nothing: it answers exactly as its parent does.", 0.0, n_probes=n)
    if len(served) != n or not all(math.isfinite(value) for value in served):
        return Finding(False, "The server's log-probabilities cannot be used.", change, n_probes=n)
    disagreement = mean_abs(served, canary.policy)
    share = _share_of_change(canary, served)
    figures: dict[str, Any] = {"change": change, "disagreement": disagreement, "share": share, "n_probes": n}
    if share < LEAST_SHARE_OF_CHANGE:
        said = (
            "exactly as before"
            if mean_abs(served, canary.parent) <= disagreement
            else "neither as before nor as trained"
        )
        return Finding(False, f"The server does not serve this adapter: it answers {said}.", **figures)
    if disagreement > TOLERANCE_NATS:
        sentence = (
            f"The server's answers differ from the trainer's by {disagreement:.3f} nats a token; "
            f"at most {TOLERANCE_NATS} is allowed."
        )
        return Finding(False, sentence, **figures)
    return Finding(True, "The server answers as the trained model does.", **figures)


def mean_abs(one: Sequence[float], other: Sequence[float]) -> float:
    return math.fsum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one)


def _share_of_change(canary: Canary, served: Sequence[float]) -> float:
    """The projection of (served - parent) on (policy - parent): noise that points elsewhere falls out of it."""
    trained = [policy - parent for policy, parent in zip(canary.policy, canary.parent, strict=True)]
    seen = [value - parent for value, parent in zip(served, canary.parent, strict=True)]
    return math.fsum(t * s for t, s in zip(trained, seen, strict=True)) / math.fsum(t * t for t in trained)
