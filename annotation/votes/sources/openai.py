"""OpenAI's preference JSON Lines (also Azure, Fireworks, Together): input, preferred_output, non_preferred_output."""

from collections.abc import Sequence
from datetime import datetime

from annotation.votes.judged import Judged, Vote
from annotation.votes.parts import Row, answer, judged, prompt_of, said
from core.reading import Unusable

PAIR = ("preferred_output", "non_preferred_output")


def recognises(rows: Sequence[Row]) -> bool:
    return any("preferred_output" in row and "non_preferred_output" in row for row in rows)


def read(row: Row, line: int, now: datetime) -> Judged:
    given = row.get("input")
    if not isinstance(given, dict) or "messages" not in given:
        raise Unusable("The input is not an object with messages.")
    if given.get("tools"):
        raise Unusable("The row uses tools; only plain text can be used.")
    answers = [answer(said(row.get(name), name)) for name in PAIR]
    prompt = prompt_of(row, given["messages"], line, used={"input", *PAIR})
    return judged(line, prompt, answers, [Vote("ranked", (1, 2))])
