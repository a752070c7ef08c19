"""Label Studio's JSON export: tasks with data and annotations by Pairwise (left, right) or Ranker (ids in order).

The first answer of a task stands on the left, so a pairwise vote says how it was shown; a ranker's does not.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from annotation.votes.judged import MAX_SECONDS, Judged, Vote, name_of
from annotation.votes.parts import Row, answer, id_in, is_missing, judged, prompt_of, said, time_in
from annotation.votes.sources.argilla import ANSWER, ASKED
from core.reading import Unusable

SELECTED = {"left": (1, 2), "right": (2, 1)}


def recognises(rows: Sequence[Row]) -> bool:
    return any(isinstance(row.get("data"), dict) and isinstance(row.get("annotations"), list) for row in rows)


def read(row: Row, line: int, now: datetime) -> Judged:
    data, annotations = row.get("data"), row.get("annotations")
    if not isinstance(data, dict) or not isinstance(annotations, list):
        raise Unusable("The task has no data and annotations.")
    ids, texts, models, used = _answers(data)
    asked = next((name for wanted in ASKED for name in data if name.casefold() == wanted and name not in used), "")
    if not asked:
        raise Unusable("The task's data have no prompt (a key such as prompt, question or text).")
    prompt = prompt_of(data, data[asked], line, used={asked, *used})
    votes = [vote for each in annotations if (vote := _vote(each, ids, now)) is not None]
    answers = [answer(text, model) for text, model in zip(texts, models, strict=True)]
    return judged(line, prompt, answers, votes, id=id_in(row, "id"))


def _answers(data: Mapping[str, Any]) -> tuple[list[str], list[str], list[Any], set[str]]:
    """(ids, texts, models, the keys of the data that hold them): keys that end in a number, or a list of items for a ranker."""
    for name, value in data.items():
        if isinstance(value, list) and value and all(isinstance(item, dict) and "id" in item for item in value):
            texts = [said(item.get("body") or item.get("text") or item.get("html") or "", name) for item in value]
            return [str(item["id"]) for item in value], texts, [item.get("model") for item in value], {name}
    names = sorted(name for name, value in data.items() if isinstance(value, str) and ANSWER.match(name.casefold()))
    if len(names) < 2:
        raise Unusable(
            "The task's data have no answers: keys such as answer1 and answer2, or a list of items with id and body."
        )
    models = [data.get(f"{name}_model") for name in names]
    return names, [data[name] for name in names], models, {*names, *(f"{name}_model" for name in names)}


def _vote(annotation: Any, ids: Sequence[str], now: datetime) -> Vote | None:
    if not isinstance(annotation, dict) or annotation.get("was_cancelled"):
        return None  # a skipped task was not judged
    about: dict[str, Any] = {"comment": ""}
    verdict, ranks = "", (1,) * len(ids)
    order: tuple[int, ...] = ()
    results = annotation.get("result") or []
    if not isinstance(results, list):
        raise Unusable("The result of an annotation is not a list.")
    for result in results:
        value = result.get("value") if isinstance(result, dict) else None
        if not isinstance(value, dict):
            continue
        if result.get("type") == "pairwise":
            selected = value.get("selected")
            if not isinstance(selected, str) or selected not in SELECTED or len(ids) != 2:
                raise Unusable("A pairwise result selects left or right of two answers.")
            verdict, ranks, order = "ranked", SELECTED[selected], (0, 1)
        elif result.get("type") == "ranker":
            verdict, ranks = "ranked", _ranked(value.get("ranker"), ids)
        elif isinstance(value.get("text"), (str, list)):
            parts = value["text"] if isinstance(value["text"], list) else [value["text"]]
            about["comment"] = "\n\n".join([about["comment"], *map(str, parts)]).strip()
    if not verdict:
        return None
    seconds = annotation.get("lead_time")
    if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and 0 <= seconds <= MAX_SECONDS:
        about["seconds"] = float(seconds)
    return Vote(
        verdict, ranks, _annotator(annotation.get("completed_by")), order=order, at=time_in(annotation, "created_at", now),
        id=id_in(annotation, "id"), **about,
    )  # fmt: skip


def _annotator(value: Any) -> str:
    """Who: an id, or (in fuller exports) an object with one. E-mail addresses are not taken over."""
    found = value.get("id") if isinstance(value, dict) else value
    return "" if is_missing(found) else name_of(found, "completed_by")


def _ranked(value: Any, ids: Sequence[str]) -> tuple[int, ...]:
    """Ranks of one ordered list of ids; of several buckets it cannot be told which is the better one."""
    if isinstance(value, dict):
        buckets = [bucket for name, bucket in value.items() if name != "_" and bucket]
        if len(buckets) != 1:
            raise Unusable("The ranker has several buckets; which of them is better is not said.")
        value = buckets[0]
    if not isinstance(value, list) or sorted(map(str, value)) != sorted(ids):
        raise Unusable("The ranker does not order every answer once.")
    place = {str(each): number for number, each in enumerate(value, 1)}
    return tuple(place[each] for each in ids)
