"""Formats made of the judged tasks: rankings with every vote, battles, better answers that people wrote, prompts."""

import math
from collections.abc import Iterator
from datetime import datetime
from itertools import combinations, groupby
from typing import Any

from training.exports.pairs import asked
from training.exports.source import Row, Source

LETTERS = "abcdefghi"
WINNERS = {"tie": "tie", "both_good": "tie", "both_bad": "tie (bothbad)"}
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
            if text := vote.get("better_answer"):
                yield {
                    "messages": [*task["prompt"], {"role": "assistant", "content": text}],
                    "annotator": vote["annotator"],
                }


def rankings(source: Source) -> Iterator[Row]:
    """A task a row, with what every person said of all its answers."""
    for task in source.tasks():
        yield {
            "task": task["id"], "prompt": task["prompt"], "completions": [answer["text"] for answer in task["answers"]],
            "models": [answer["model"] for answer in task["answers"]],
            "rankings": [_ranking(vote, task) for vote in task["votes"]], "question": task["campaign"]["question"],
            "tags": task.get("tags", []),
        }  # fmt: skip


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
        "annotator": vote["annotator"], "verdict": said, "ranks": ranks_of(vote, task), "strength": vote.get("strength"),
        "scores": scores, "reasons": vote.get("reasons", []), "comment": vote.get("comment", ""), "time": vote["time"],
    }  # fmt: skip


# ---- HelpSteer3 ------------------------------------------------------------------------------------------------------


def helpsteer(source: Source) -> Iterator[Row]:
    """Tasks of two answers: -3 (response 1 much better) to 3 (response 2 much better), for each vote and over all."""
    for task in source.tasks():
        if len(task["answers"]) != 2 or not task["votes"]:
            continue
        scores = [_seven(vote, task) for vote in task["votes"]]
        yield {
            "domain": (task.get("tags") or ["general"])[0],
            "language": str(task.get("metadata", {}).get("language") or "english"),
            "context": task["prompt"],
            "response1": task["answers"][0]["text"],
            "response2": task["answers"][1]["text"],
            "overall_preference": _rounded(sum(scores) / len(scores)),
            "individual_preference": [
                {"score": score, "reasoning": _reasoning(vote)}
                for score, vote in zip(scores, task["votes"], strict=True)
            ],
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
    for task in source.tasks():
        language = str(task.get("metadata", {}).get("language") or "unknown")
        turn = sum(message["role"] == "user" for message in task["prompt"])
        for vote in task["votes"]:
            ranks = ranks_of(vote, task)
            shown = [LETTERS.index(letter) for letter in vote.get("order", LETTERS[: len(ranks)])]
            for a, b in combinations(shown, 2):
                tie = WINNERS.get(vote.get("choice", "tie"), "tie")
                winner = tie if ranks[a] == ranks[b] else "model_a" if ranks[a] < ranks[b] else "model_b"
                yield {
                    "question_id": vote["vote_id"] if len(ranks) == 2 else f"{vote['vote_id']}-{LETTERS[a]}{LETTERS[b]}",
                    "model_a": task["answers"][a]["model"], "model_b": task["answers"][b]["model"], "winner": winner,
                    "judge": vote["annotator"], "conversation_a": _talk(task, a), "conversation_b": _talk(task, b),
                    "turn": turn, "anony": not vote.get("unblinded", False), "language": language,
                    "tstamp": datetime.fromisoformat(vote["time"]).timestamp(),
                }  # fmt: skip


def _talk(task: Row, answer: int) -> list[Row]:
    return [*task["prompt"], {"role": "assistant", "content": task["answers"][answer]["text"]}]
