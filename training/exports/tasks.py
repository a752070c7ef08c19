"""Formats made of the judged tasks: rankings with every vote, battles, better answers that people wrote, prompts."""

import math
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256
from itertools import combinations, groupby
from operator import itemgetter
from typing import Any

from training.exports.pairs import asked
from training.exports.source import Row, Source
from training.formats.canonical import ERASED, canonical

LETTERS = "abcdefghi"
WINNERS = {"tie": "tie", "both_good": "tie", "both_bad": "tie (bothbad)"}
BEAT_TASKS = 1000
PLAIN_PREFERENCE = 2  # of -3 ... 3: "better", where nobody was asked how much


def ranks_of(vote: Row, task: Row) -> list[int]:
    """Ranks of the answers, 1 is best and equal ones are ties; turned round where people chose the worse of two."""
    if "ranks" in vote:
        ranks = list(vote["ranks"])
    elif vote["choice"] in LETTERS:
        ranks = [1, 2] if vote["choice"] == "a" else [2, 1]
    else:
        ranks = [1] * len(task["answers"])
    worst = max(ranks)
    return [worst + 1 - rank for rank in ranks] if task["campaign"].get("chosen_is_worse") else ranks


def prompts(source: Source) -> Iterator[Row]:
    """Every judged prompt once."""
    for messages, tasks in groupby(source.tasks(), key=lambda task: task["prompt"]):
        first = next(tasks)
        yield {"prompt": messages, "reference": first.get("reference", ""), "tags": first.get("tags", [])}


def prompts_text(source: Source) -> Iterator[Row]:
    for row in prompts(source):
        yield {**row, "prompt": asked(row["prompt"])}


def write_ins(source: Source) -> Iterator[Row]:
    """Every better answer that a person wrote."""
    for task in source.tasks():
        for vote in task["votes"]:
            if (text := vote.get("better_answer")) and text != ERASED:
                yield {
                    "messages": [*task["prompt"], {"role": "assistant", "content": text}],
                    "annotator": vote["annotator"],
                }


# Votes, and the tasks of one prompt, stand in an order that follows from what the format says of them, and from no name: an import
# gives the same in the same order, and numbers people and models in the same order, too.


def rankings(source: Source) -> Iterator[Row]:
    """A task a row, with what every person said of all its answers."""
    likeness = _likeness(source)
    for tasks in source.judged_by_prompt():
        for task in sorted(tasks, key=_content):
            votes = [(_ranking(vote, task), vote["annotator"]) for vote in task["votes"]]
            if len(votes) > 1:
                votes.sort(key=lambda vote: (canonical(vote[0]), likeness[vote[1]], vote[1]))
            yield {
                "task": task["id"], "prompt": task["prompt"], "completions": _texts(task),
                "models": [source.model(answer["model"]) for answer in task["answers"]],
                "rankings": [{"annotator": source.person(person), **said} for said, person in votes],
                "question": task["campaign"]["question"], "tags": task.get("tags", []),
            }  # fmt: skip


def _likeness(source: Source) -> dict[str, int]:
    """A number for all that each person said: who has the same one could be exchanged, and nobody would see it."""
    found: dict[str, int] = defaultdict(int)
    for number, task in enumerate(source.judged()):
        content = sha256(canonical([task["prompt"], *_content(task)]))
        for vote in task["votes"]:
            said = content.copy()
            said.update(canonical(_ranking(vote, task)))
            found[vote["annotator"]] += int.from_bytes(said.digest()[:16], "big")
        if number % BEAT_TASKS == 0:
            source.beat(source.n_read)
    return found


def _content(task: Row) -> tuple[list[str], str]:
    return _texts(task), task["id"]


def _texts(task: Row) -> list[str]:
    return [answer["text"] for answer in task["answers"]]


def _ranking(vote: Row, task: Row) -> Row:
    scores: list[dict[str, Any]] = []
    for criterion, value in vote.get("scores", {}).items():
        is_rating = isinstance(value, list)
        scores.append(
            {
                "criterion": criterion,
                "ratings": value if is_rating else None,
                "comparison": None if is_rating else value,
            }
        )
    said = "ranked" if "ranks" in vote or vote["choice"] in LETTERS else vote["choice"]
    return {
        "verdict": said, "ranks": ranks_of(vote, task), "strength": vote.get("strength"),
        "scores": scores, "reasons": vote.get("reasons", []), "comment": vote.get("comment", ""), "time": vote["time"],
    }  # fmt: skip


# ---- HelpSteer3 ------------------------------------------------------------------------------------------------------


def helpsteer(source: Source) -> Iterator[Row]:
    """Tasks of two answers: -3 (response 1 much better) to 3 (response 2 much better), for each vote and over all."""
    for tasks in source.judged_by_prompt():
        rows = [_preferred(task) for task in tasks if len(task["answers"]) == 2 and task["votes"]]
        yield from sorted(rows, key=canonical) if len(rows) > 1 else rows


def _preferred(task: Row) -> Row:
    votes = sorted((_seven(vote, task), _reasoning(vote)) for vote in task["votes"])
    return {
        "domain": (task.get("tags") or ["general"])[0],
        "language": str(task.get("metadata", {}).get("language") or "english"),
        "context": task["prompt"],
        "response1": task["answers"][0]["text"],
        "response2": task["answers"][1]["text"],
        "overall_preference": _rounded(sum(score for score, _ in votes) / len(votes)),
        "individual_preference": [{"score": score, "reasoning": reasoning} for score, reasoning in votes],
    }


def _seven(vote: Row, task: Row) -> int:
    first, second = ranks_of(vote, task)
    if first == second:
        return 0
    levels, strength = task["campaign"].get("strength_levels", 0), vote.get("strength")
    size = max(1, _rounded(3 * strength / levels)) if strength and levels else PLAIN_PREFERENCE
    return -size if first < second else size


def _rounded(value: float) -> int:
    """To the nearest whole number, halves away from zero."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def _reasoning(vote: Row) -> str:
    return "\n".join([*vote.get("reasons", []), *([vote["comment"]] if vote.get("comment") else [])])


# ---- arena -----------------------------------------------------------------------------------------------------------


def battles(source: Source) -> Iterator[Row]:
    """A battle for each vote and each pair of its answers, the one shown first as a."""
    for tasks in source.judged_by_prompt():
        turn = sum(message["role"] == "user" for message in tasks[0]["prompt"])
        found = [each for task in tasks for vote in task["votes"] for each in _battles_of(vote, task)]
        found.sort(key=itemgetter(0))
        for (_, at, question, _, winner), task, vote, a, b in found:
            yield {
                "question_id": question, "model_a": source.model(task["answers"][a]["model"]),
                "model_b": source.model(task["answers"][b]["model"]), "winner": winner, "judge": source.person(vote["annotator"]),
                "conversation_a": _talk(task, a), "conversation_b": _talk(task, b), "turn": turn,
                "anony": not vote.get("unblinded", False),
                "language": str(task.get("metadata", {}).get("language") or "unknown"), "tstamp": at,
            }  # fmt: skip


Battle = tuple[
    tuple[list[str], float, str, str, str], Row, Row, int, int
]  # what it is sorted by, its task, vote, answers


def _battles_of(vote: Row, task: Row) -> Iterator[Battle]:
    """Sorted by its texts, in whatever order they were shown, by time and by the vote's id."""
    ranks, texts = ranks_of(vote, task), _texts(task)
    at = datetime.fromisoformat(vote["time"]).timestamp()
    shown = [LETTERS.index(letter) for letter in vote.get("order", LETTERS[: len(ranks)])]
    for a, b in combinations(shown, 2):
        tie = WINNERS.get(vote.get("choice", "tie"), "tie")
        winner = tie if ranks[a] == ranks[b] else "model_a" if ranks[a] < ranks[b] else "model_b"
        question = vote["vote_id"] if len(ranks) == 2 else f"{vote['vote_id']}-{LETTERS[a]}{LETTERS[b]}"
        yield (sorted((texts[a], texts[b])), at, question, texts[a], winner), task, vote, a, b


def _talk(task: Row, answer: int) -> list[Row]:
    return [*task["prompt"], {"role": "assistant", "content": task["answers"][answer]["text"]}]
