"""Prompts that read alike: of the same words, whatever their case, order and punctuation. Sixteen bytes a prompt."""

from array import array

import numpy as np

from training.formats.ballots import Split


class Neighbours:
    """Which prompts of a dataset use the same words, and which of them stand on different sides of the border.

    Words are compared by the first 64 bits of their hash: of a million prompts two that differ are taken for alike
    with a probability of one in thirty million.
    """

    def __init__(self, *, remember: bool = False) -> None:
        self._words: dict[Split, array[int]] = {"train": array("Q"), "test": array("Q")}
        self._prompts: dict[Split, array[int]] = {"train": array("Q"), "test": array("Q")}
        self._seen: dict[Split, set[int]] | None = {"train": set(), "test": set()} if remember else None

    def add(self, split: Split, prompt_id: str, signature: str) -> bool:
        """Whether no prompt of these words was on this side before; always, where they are not remembered."""
        words = int(signature[:16], 16)
        self._words[split].append(words)
        self._prompts[split].append(int(prompt_id[:16], 16))
        if self._seen is None:
            return True
        is_new = words not in self._seen[split]
        self._seen[split].add(words)
        return is_new

    def _on_both_sides(self) -> set[int]:
        train, test = (np.frombuffer(self._words[split], dtype=np.uint64) for split in ("train", "test"))
        return {int(words) for words in np.intersect1d(train, test)}

    def n_across(self) -> int:
        """How many sets of words stand on both sides."""
        return len(self._on_both_sides())

    def across(self) -> list[tuple[str, str]]:
        """(test, train): the first 16 digits of the prompts' hashes, for each two of the same words on both sides."""
        both = self._on_both_sides()
        by_words: dict[Split, dict[int, list[str]]] = {"train": {}, "test": {}}
        for split, words in self._words.items():
            for word, prompt in zip(words, self._prompts[split], strict=True):
                if word in both:
                    by_words[split].setdefault(word, []).append(f"{prompt:016x}")
        return sorted(
            (test, train) for word in both for test in by_words["test"][word] for train in by_words["train"][word]
        )
