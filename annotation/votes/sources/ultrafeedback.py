"""UltraFeedback, binarized (the layout of HuggingFaceH4): chosen and rejected are conversations, each with a score."""

from collections.abc import Sequence
from datetime import datetime

from annotation.protocol import MAX_LEVELS
from annotation.votes.judged import Judged, Score, Vote
from annotation.votes.parts import Row, answer, id_in, judged, number_in, prompt_of, split_pair

PAIR = ("chosen", "rejected")
SCORES = ("score_chosen", "score_rejected")


def recognises(rows: Sequence[Row]) -> bool:
    return any("score_chosen" in row and isinstance(row.get("chosen"), list) for row in rows)


def read(row: Row, line: int, now: datetime) -> Judged:
    """The better answer, with the scores where they are whole levels from 1 to 10; others stay in the metadata."""
    prompt, better, worse = split_pair(row.get("chosen"), row.get("rejected"), PAIR)
    values = [number_in(row, name) for name in SCORES]
    are_levels = all(value is not None and value.is_integer() and 1 <= value <= MAX_LEVELS for value in values)
    # Our own exports give the shares of the votes, which follow from them.
    known = [value for value in values if value is not None]
    are_shares = len(known) == 2 and min(known) >= 0 and abs(sum(known) - 1) < 1e-6
    scores: tuple[Score, ...] = ()
    if are_levels:
        scores = tuple(("score", number, int(value or 0)) for number, value in enumerate(values))
    used = {*PAIR, "prompt", "prompt_id", "messages", *(SCORES if are_levels or are_shares else ())}
    vote = Vote("ranked", (1, 2), scores=scores)
    told = prompt_of(row, prompt, line, used=used)
    return judged(line, told, [answer(better), answer(worse)], [vote], id=id_in(row, "prompt_id"))
