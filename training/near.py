"""Prompts that read alike: MinHash and locality-sensitive hashing over pairs of neighbouring words, checked exactly.

Two prompts are near duplicates where at least four fifths of their word pairs, taken as sets, are the same (Jaccard), or where they are of
the same words in any order; case, width and punctuation count for nothing. Sixteen bands of four minima find two prompts that share four
fifths with a probability of 99.98 % (Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, section 3.4); what a band finds is
compared pair by pair, so that nothing is called near that is not. Numbers are derived from constants: the same prompts, the same answer.
Of a million prompts about 30 MB are held while it is asked; the rest lies in files.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from tempfile import TemporaryFile
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.ids import WORDS, levelled
from training.formats.ballots import Messages, Split

LEAST_SHARE = 0.8
N_BANDS, N_ROWS = 16, 4
MOST_CHARS = 200_000  # of a prompt; what follows is not compared
MOST_COMPARED = 8  # prompts of a bucket with which each other one is compared
BATCH_CHARS = 1 << 18  # of arrays that stay near the processor
SORTED_AT_ONCE = 1 << 16  # prompts
IN_MEMORY_BYTES = 1 << 16  # of each column, before it goes to disk

_HIGHEST = 3 if sys.byteorder == "little" else 0  # of the four parts of 64 bits
# Of ASCII letters the small ones, a blank for all but letters and digits; the end of a prompt as the end of a line.
_LEVEL = bytes(code if code > 127 else ord(chr(code).lower()) if chr(code).isalnum() else 32 for code in range(256))
_LEVEL = b"\n" + _LEVEL[1:]
_BASE = 0x9E3779B97F4A7C15

Numbers = NDArray[np.uint64]


class Near(NamedTuple):
    """A held-out prompt and one that is trained on, by the first 16 digits of their hashes; ``share`` of their word pairs is the same."""

    test: str
    train: str
    share: float


class Neighbours:
    """Gathers prompts in any number; then says which of them are near."""

    def __init__(self) -> None:
        self._is_test = bytearray()
        self._pending: list[str] = []
        self._pending_ids: list[int] = []
        self._n_pending = 0
        self._prompts = _Column()  # the first 64 bits of their hashes
        self._lengths, self._shingles = _Column(), _Column()
        self._bits = _Column()  # of each prompt one of 64 for each of its shingles
        self._bands = [_Column() for _ in range(N_BANDS + 1)]  # the last one: which words, in any order
        self._sets: dict[int, frozenset[int]] = {}  # those read last

    def add(self, split: Split, prompt_id: str, messages: Messages) -> None:
        line = _line_of(messages)
        self._is_test.append(split == "test")
        self._pending_ids.append(int(prompt_id[:16], 16))
        self._pending.append(line)
        self._n_pending += len(line)
        if self._n_pending >= BATCH_CHARS:
            self._flush()

    def _flush(self) -> None:
        if not self._pending:
            return
        shingles, lengths, words = _shingles_of(self._pending)
        for band, keys in zip(self._bands, (*_bands_of(shingles, lengths), words), strict=True):
            band.add(keys)
        self._prompts.add(np.array(self._pending_ids, np.uint64))
        self._lengths.add(lengths.astype(np.uint64))
        self._shingles.add(shingles)
        self._bits.add(_bits_of(shingles, lengths))
        self._pending, self._pending_ids, self._n_pending = [], [], 0

    # ---- asking ----

    def across(self) -> list[Near]:
        """Every held-out prompt that is near one that is trained on, with the nearest of the first few in the first band that finds any."""
        self._look_up()
        found: dict[int, tuple[float, int]] = {}
        for bucket, same_words in self._buckets(of_both_sides=True):
            trains = [one for one in bucket if not self._is_test[one]][:MOST_COMPARED]
            for test in bucket:
                if not self._is_test[test] or test in found:
                    continue
                near = [
                    (1.0 if same_words else self._share(test, train), self._prompts.at(train))
                    for train in trains
                    if same_words or self._may_be_near(test, train)
                ]
                if near and (nearest := max(near))[0] >= LEAST_SHARE:
                    found[test] = nearest
        return sorted(
            Near(f"{self._prompts.at(test):016x}", f"{train:016x}", round(share, 3))
            for test, (share, train) in found.items()
        )

    def twins(self) -> dict[str, int]:
        """The number of its group for every prompt that has a near one on its own side; near ones of near ones are in one group."""
        self._look_up()
        parents: dict[int, int] = {}

        def top(one: int) -> int:
            while (parent := parents.get(one, one)) != one:
                parents[one] = parents.get(parent, parent)
                one = parent
            return one

        for bucket, same_words in self._buckets():
            for side in (0, 1):
                firsts: list[int] = []
                for one in bucket:
                    if self._is_test[one] != side:
                        continue
                    for first in firsts:
                        if same_words or top(first) == top(one) or self._is_near(first, one):
                            low, high = sorted((top(first), top(one)))
                            parents[high] = low
                            parents.setdefault(low, low)
                            break
                    else:
                        if len(firsts) < MOST_COMPARED:
                            firsts.append(one)
        return {f"{self._prompts.at(one):016x}": top(one) for one in parents}

    def _look_up(self) -> None:
        """Have at hand what is asked of every prompt that came until now."""
        self._flush()
        lengths = self._lengths.all()
        self._has_any = lengths > 0
        self._ends = np.cumsum(lengths, dtype=np.uint64).data  # of each prompt's shingles, among those of all
        self._bits_now = self._bits.all().data

    def _buckets(self, *, of_both_sides: bool = False) -> Iterator[tuple[list[int], bool]]:
        """Prompts that one band holds together, in the order in which they came; and whether that band is the one of the same words.

        of_both_sides  only where some are held out and some are not
        """
        is_test = np.frombuffer(self._is_test, np.uint8)
        for number, keys, part in self._parts():
            order = part[np.argsort(keys[part], kind="stable")]
            starts = np.flatnonzero(np.diff(keys[order], prepend=keys[order][:1] + np.uint64(1)) != 0)
            lengths = np.diff(starts, append=len(order))
            is_wanted = lengths > 1
            if of_both_sides and len(starts):
                n_tests = np.add.reduceat(is_test[order], starts, dtype=np.int64)
                is_wanted &= (n_tests > 0) & (n_tests < lengths)
            for start, length in zip(starts[is_wanted], lengths[is_wanted], strict=True):
                yield order[start : start + length].tolist(), number == N_BANDS

    def _parts(self) -> Iterator[tuple[int, Numbers, NDArray[np.int64]]]:
        """(band, its keys, those prompts with any word whose keys begin with the same bits), in the order of keys.

        What is sorted at a time is the same whatever the number of prompts.
        """
        n_bits = (len(self._has_any) // SORTED_AT_ONCE).bit_length()
        for number, band in enumerate(self._bands):
            keys = band.all()
            beginnings = (keys.view(np.uint16)[_HIGHEST::4] >> np.uint16(16 - n_bits)) if n_bits else None
            for part in range(1 << n_bits):
                is_mine = self._has_any if beginnings is None else self._has_any & (beginnings == part)
                yield number, keys, np.flatnonzero(is_mine)
            del keys, beginnings  # before the next are read

    def _is_near(self, one: int, other: int) -> bool:
        return self._may_be_near(one, other) and self._share(one, other) >= LEAST_SHARE

    def _may_be_near(self, one: int, other: int) -> bool:
        """False only where they cannot be: every bit that one has and the other has not is of a word pair that is not in both.

        Of a share s of their word pairs in common, (1 - s) / (1 + s) of the two numbers of word pairs are in one of them alone.
        """
        n_apart = (self._bits_now[one] ^ self._bits_now[other]).bit_count()
        return n_apart <= (1 - LEAST_SHARE) / (1 + LEAST_SHARE) * (self._n_of(one) + self._n_of(other)) + 1e-6

    def _share(self, one: int, other: int) -> float:
        """Of the word pairs of both, those that they have in common."""
        mine, theirs = self._set_of(one), self._set_of(other)
        n_common = len(mine & theirs)
        return n_common / (len(mine) + len(theirs) - n_common)

    def _n_of(self, one: int) -> int:
        return self._ends[one] - (self._ends[one - 1] if one else 0)

    def _set_of(self, one: int) -> frozenset[int]:
        found = self._sets.pop(one, None)
        if found is None:
            if len(self._sets) > MOST_COMPARED + 1:
                # The one used longest ago: with the first few of a bucket there is room for this prompt and for the one before it.
                del self._sets[next(iter(self._sets))]
            n = self._n_of(one)
            found = frozenset(self._shingles.some(self._ends[one] - n, n).tolist())
        self._sets[one] = found
        return found


class _Column:
    """64-bit numbers in the order in which they came: the first few in memory, many in a file."""

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._n_held = self._n = 0
        self._file: IO[bytes] | None = None

    def __del__(self) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, numbers: Numbers) -> None:
        self._held.append(numbers.tobytes())
        self._n_held += numbers.nbytes
        self._n += len(numbers)
        if self._n_held >= IN_MEMORY_BYTES:
            self._to_file()

    def _to_file(self) -> None:
        if self._file is None:
            self._file = TemporaryFile()  # noqa: SIM115 (it lives as long as the column)
        self._file.write(b"".join(self._held))
        self._file.flush()
        self._held, self._n_held = [], 0

    def all(self) -> Numbers:
        return self.some(0, self._n)

    def some(self, first: int, n: int) -> Numbers:
        if self._file is None:
            self._held = [b"".join(self._held)]
            return np.frombuffer(self._held[0], np.uint64)[first : first + n]
        if self._held:
            self._to_file()
        return np.frombuffer(os.pread(self._file.fileno(), 8 * n, 8 * first), np.uint64)

    def at(self, place: int) -> int:
        return int(self.some(place, 1)[0])


# ---- numbers of words ------------------------------------------------------------------------------------------------


def _line_of(messages: Messages) -> str:
    """The words of a prompt with something between them; what is ASCII is levelled out later, with all others of its batch."""
    text = " ".join([message["content"] for message in messages])[:MOST_CHARS]
    return text.replace("\0", " ") if text.isascii() else " ".join(WORDS.findall(levelled(text)))


def _shingles_of(lines: Sequence[str]) -> tuple[Numbers, NDArray[np.int64], Numbers]:
    """(numbers of all word pairs, prompt after prompt; how many each prompt has; a number for each prompt's words, in any order).

    A prompt of one word has that word for a pair; one of none has none.
    """
    text = np.frombuffer(("\0".join(lines) + "\0").encode().translate(_LEVEL), np.uint8)
    is_end = text == 10
    is_gap = is_end | (text == 32)
    is_first = ~is_gap
    is_first[1:] &= is_gap[:-1]
    firsts = np.flatnonzero(is_first)
    lasts = np.flatnonzero(~is_gap & np.append(is_gap[1:], True))
    # A polynomial over the bytes of each word, from one sum over all the text: the sums' difference, moved to the word's own beginning.
    sums = np.cumsum((text.astype(np.uint64) + np.uint64(1)) * _powers(_BASE, len(text)))
    before: Numbers = np.where(firsts > 0, sums[firsts - 1], np.uint64(0))
    words = _mixed((sums[lasts] - before) * _powers(pow(_BASE, -1, 1 << 64), len(text))[firsts])
    owners = np.cumsum(is_end)[firsts]  # (n_words,) the prompt of each word
    n_words = np.bincount(owners, minlength=len(lines))
    ends = np.cumsum(n_words)
    is_last = np.zeros(len(words), bool)
    is_last[ends[n_words > 0] - 1] = True
    following: Numbers = np.append(words[1:], np.uint64(0)).astype(np.uint64)
    pairs = _mixed(words * np.uint64(3) + following * np.uint64(5))
    alone = is_last & (n_words[owners] == 1)
    pairs[alone] = words[alone]
    shingles = pairs[~is_last | alone]
    lengths = np.where(n_words > 1, n_words - 1, n_words)
    sets = np.zeros(len(lines), np.uint64)
    if len(words):
        sets[n_words > 0] = np.add.reduceat(_mixed(words), (ends - n_words)[n_words > 0])
    return shingles, lengths, sets


def _bands_of(shingles: Numbers, lengths: NDArray[np.int64]) -> Iterator[Numbers]:
    """For each band a number for each prompt, of the least of its shingles in four orders drawn from constants."""
    has_any, turned = lengths > 0, np.empty_like(shingles)
    starts = (np.cumsum(lengths) - lengths)[has_any]
    for band in range(N_BANDS):
        keys = np.zeros(len(lengths), np.uint64)
        found = np.zeros(len(starts), np.uint64)
        for row in range(N_ROWS if len(starts) else 0):
            factor, term = _FACTORS[band * N_ROWS + row], _TERMS[band * N_ROWS + row]
            np.multiply(shingles, factor, out=turned)
            turned += term
            least = np.minimum.reduceat(turned, starts)
            found = _mixed(found * np.uint64(3) + least)
        keys[has_any] = found
        yield keys


def _mixed(numbers: Numbers) -> Numbers:
    """Each number's bits spread over all of it (the finaliser of splitmix64)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def _bits_of(shingles: Numbers, lengths: NDArray[np.int64]) -> Numbers:
    has_any, bits = lengths > 0, np.zeros(len(lengths), np.uint64)
    if len(shingles):
        of_each = np.uint64(1) << (shingles & np.uint64(63))
        bits[has_any] = np.bitwise_or.reduceat(of_each, (np.cumsum(lengths) - lengths)[has_any])
    return bits


_COUNT = np.arange(1, N_BANDS * N_ROWS + 1, dtype=np.uint64)
_FACTORS, _TERMS = (
    _mixed(_COUNT) | np.uint64(1),
    _mixed(_COUNT + np.uint64(1 << 32)),
)  # odd: each turns 64 bits into others

_known: dict[int, Numbers] = {}


def _powers(base: int, n: int) -> Numbers:
    """The first ``n`` powers of ``base``, modulo 2^64."""
    known = _known.get(base)
    if known is None or len(known) < n:
        factors = np.full(max(n, BATCH_CHARS + (1 << 16)), base, np.uint64)
        factors[0] = 1
        known = _known[base] = np.cumprod(factors, dtype=np.uint64)
    return known[:n]
