"""What a simulated person says to a page: every field that it offers, by a known preference. Nothing of a model is known here.

The coins depend on who judges and what is read, never on the order shown or on who else is at work.
"""

import math
import random
from itertools import pairwise

from annotation.pageclient import Page, PageProblem
from annotation.protocol import LETTERS, choice_of
from starter.judge import Features, Preference, features

FLAT, STEEP = 0.5, 1.0  # of a scale: what its middle is worth, and how much each further level takes
WORDS = "One of them answers the question and the other does not, as far as I can see from here. "


class Opinion:
    """One person. ``ties``: a difference in worth that is no larger than this is none."""

    def __init__(self, preference: Preference, seed: str, *, ties: float = 0.0) -> None:
        self.preference, self.seed, self.ties = preference, seed, ties

    def fields(self, page: Page) -> dict[str, str | list[str]]:
        """What to send with the page's form."""
        form = page.form(id="judge")
        if form is None:
            raise PageProblem(f"There is nothing to judge on {page.url}.")
        prompt = next(text for role, text in reversed(page.turns) if role == "user")
        read = {letter.upper(): features(prompt, text) for letter, text in page.answers.items()}
        given: dict[str, str | list[str]] = {}
        names = dict.fromkeys(name for name, _ in [*form.options, *form.buttons])
        for name in names:
            if name.startswith("rate-"):
                given[name] = self._level(form.offers(name), read[name[-1]], self._coin(page, name[:-2], name[-1]))
            elif name.startswith("compare-"):
                given[name] = self._better(page, read, form.offers(name), name)
        if any(name.startswith("rank-") for name in names):
            given |= self._ranking(page, read)
        elif choices := form.offers("choice"):
            given["choice"] = self._better(page, read, choices, "")
        if reasons := form.offers("reason"):
            given["reason"] = [self._coin(page, "reason", "A").choice(reasons)]
        for name, least in form.least.items():
            given[name] = (WORDS * (least // len(WORDS) + 1)).strip()
        return given

    def _coin(self, page: Page, what: str, *letters: str) -> random.Random:
        texts = [text for letter, text in page.answers.items() if letter.upper() in letters]
        prompt = next(text for role, text in reversed(page.turns) if role == "user")
        return random.Random(":".join([self.seed, *([what] if what else []), prompt, *sorted(texts)]))

    def _better(self, page: Page, read: dict[str, Features], offered: list[str], what: str) -> str:
        """A button or a step of a scale: which of two is better, and where the page asks it, how much."""
        texts = {letter.upper(): text for letter, text in page.answers.items()}
        first, second = sorted(texts, key=lambda letter: (texts[letter], letter))[:2]
        gap = self.preference.utility(read[first]) - self.preference.utility(read[second])
        if self.ties and abs(gap) <= self.ties:
            worth = self.preference.utility(read[first]) + self.preference.utility(read[second])
            for choice in ("both_good" if worth > 0 else "both_bad", "tie"):
                if choice in offered:
                    return choice
        is_first = self.preference.prefers_first(read[first], read[second], self._coin(page, what, first, second))
        place = LETTERS.index(first if is_first else second)
        steps = sorted((read_step(value), value) for value in offered if read_step(value)[0] == place)
        if not steps:
            raise PageProblem(f"{page.url} offers no answer to choose.")
        return steps[min(len(steps) - 1, int(abs(gap) / STEEP))][1]

    def _ranking(self, page: Page, read: dict[str, Features]) -> dict[str, str | list[str]]:
        """Plackett and Luce: the best first, then the best of the rest, each with the noise of a choice between two."""
        worth = {}
        for letter, what in read.items():
            coin = self._coin(page, "rank", letter)
            noise = -math.log(-math.log(coin.uniform(1e-12, 1 - 1e-12))) * max(0.0, self.preference.noise)
            worth[letter] = self.preference.utility(what) + noise
        order = sorted(worth, key=lambda letter: (-worth[letter], letter))
        may_tie = self.ties > 0 and "equal numbers are ties" in page.text
        ranks = {order[0]: 1}
        for better, worse in pairwise(order):
            is_tie = may_tie and worth[better] - worth[worse] <= self.ties
            ranks[worse] = ranks[better] if is_tie else ranks[better] + 1
        return {f"rank-{letter}": str(rank) for letter, rank in ranks.items()}

    def _level(self, offered: list[str], what: Features, coin: random.Random) -> str:
        """A level of a scale by what the answer is worth, half a level up or down by chance."""
        levels = sorted(offered, key=int)
        share = 1 / (1 + math.exp(-(self.preference.utility(what) - FLAT)))
        noise = coin.uniform(-0.5, 0.5) * min(1.0, max(0.0, self.preference.noise))
        return levels[min(len(levels) - 1, max(0, round(share * (len(levels) - 1) + noise)))]


def read_step(value: str) -> tuple[int, int]:
    """(place of the better answer, strength) of a value such as ``b3``; (-1, 0) if it says neither."""
    found = choice_of(value, levels=9)
    return (found[0], found[1] or 0) if found is not None else (-1, 0)


__all__ = ["Opinion"]
