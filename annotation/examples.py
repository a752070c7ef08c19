"""A task as one person saw it: prompt and answers in their order, under their letters. Nothing here names a model.

For the lead who reads a question or a flag, and for the example beside a ruling.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from annotation.models import Assignment, TaskCandidate
from annotation.protocol import LETTERS


@dataclass(frozen=True, slots=True)
class Example:
    """turns: (role, text); answers: (letter, text) in the order shown."""

    turns: tuple[tuple[str, str], ...] = ()
    answers: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.turns or self.answers)

    def stored(self) -> dict[str, Any]:
        """As ``Ruling.example``: the answers in the order shown, so that the text's "A" stays A."""
        return {
            "messages": [{"role": role, "content": text} for role, text in self.turns],
            "answers": [text for _, text in self.answers],
        }


def example_of(turn: Assignment) -> Example:
    """The task of an assignment as its holder saw it."""
    rows = TaskCandidate.objects.filter(task=turn.task_id).values_list("slot", "candidate__text")
    texts = dict(rows)
    return Example(
        turns=tuple((message["role"], message["content"]) for message in turn.task.prompt.messages),
        answers=tuple((LETTERS[place], texts[slot]) for place, slot in enumerate(turn.display_order)),
    )


def read_example(stored: Mapping[str, Any]) -> Example:
    """What a ruling keeps."""
    return Example(
        turns=tuple((message["role"], message["content"]) for message in stored.get("messages", ())),
        answers=tuple((LETTERS[place], text) for place, text in enumerate(stored.get("answers", ()))),
    )
