"""Label Studio's JSON export: tasks with data and annotations by Pairwise (left, right), Ranker (ids in order) or Choices.

The first answer of a task stands on the left, unless the control names them the other way round, so a pairwise vote says how
it was shown; a ranker's does not. Ratings of an answer are scores, other choices reasons, texts a comment.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from annotation.votes.judged import MAX_SECONDS, Judged, Vote, name_of
from annotation.votes.parts import Row, answer, id_in, is_missing, judged, prompt_of, said, time_in
from annotation.votes.sources.argilla import ASKED
from annotation.votes.sources.heard import ANSWER, Heard, Names, Said, place_of, settle
from core.reading import Unusable


def recognises(rows: Sequence[Row]) -> bool:
    return any(isinstance(row.get("data"), dict) and isinstance(row.get("annotations"), list) for row in rows)


def read(row: Row, line: int, now: datetime) -> Judged:
    data, annotations = row.get("data"), row.get("annotations")
    if not isinstance(data, dict) or not isinstance(annotations, list):
        raise Unusable("The task has no data and annotations.")
    ids, texts, models, used = _answers(data, annotations)
    asked = next((name for wanted in ASKED for name in data if name.casefold() == wanted and name not in used), "")
    if not asked:
        raise Unusable("The task's data have no prompt (a key such as prompt, question or text).")
    prompt = prompt_of(data, data[asked], line, used={asked, *used})
    votes = _votes(annotations, tuple(ids), now)
    answers = [answer(text, model) for text, model in zip(texts, models, strict=True)]
    return judged(line, prompt, answers, votes, id=id_in(row, "id"))


def _answers(data: Mapping[str, Any], annotations: Sequence[Any]) -> tuple[list[str], list[str], list[Any], set[str]]:
    """(ids, texts, models, the keys of the data that hold them): keys that end in a number, or a list of items for a ranker."""
    names = _keys(data, annotations)
    if name := _list_of_items(data, annotations, has_keys=len(names) > 1):
        items = data[name]
        texts = [said(item.get("body") or item.get("text") or item.get("html") or "", name) for item in items]
        return [str(item["id"]) for item in items], texts, [item.get("model") for item in items], {name}
    if len(names) < 2:
        raise Unusable(
            "The task's data have no answers: keys such as answer1 and answer2, or a list of items with id and body."
        )
    models = [data.get(f"{name}_model") for name in names]
    return names, [data[name] for name in names], models, {*names, *(f"{name}_model" for name in names)}


def _keys(data: Mapping[str, Any], annotations: Sequence[Any]) -> list[str]:
    """The keys that hold answers: the two that every pairwise control names, else those whose names say so."""
    controls = [str(result.get("to_name") or "") for result in _results(annotations, "pairwise")]
    named = {name.strip() for to in controls for name in to.split(",")}
    if len(named) == 2 and all(isinstance(data.get(name), str) for name in named):
        return sorted(named)
    return sorted(name for name, value in data.items() if isinstance(value, str) and ANSWER.match(name.casefold()))


def _list_of_items(data: Mapping[str, Any], annotations: Sequence[Any], *, has_keys: bool) -> str:
    """The key of the list that a ranker orders, or of the only list there is; "" where other keys hold the answers."""
    lists = {
        name: {str(item["id"]) for item in value}
        for name, value in data.items()
        if isinstance(value, list) and value and all(isinstance(item, dict) and "id" in item for item in value)
    }
    rankers = _results(annotations, "ranker")
    ranked = {each for result in rankers for each in _ids_in(result.get("value"))}
    found = [name for name, ids in lists.items() if ranked and ranked <= ids]
    if not found and not has_keys:
        found = [*lists]
    if len(found) > 1:
        named = [name for name in found if any(result.get("to_name") == name for result in rankers)]
        if len(named) != 1:
            shown = ", ".join(name[:40] for name in found[:6])
            raise Unusable(f"Several lists of the task's data could be the answers ({shown}): keep one of them.")
        found = named
    return found[0] if found else ""


def _results(annotations: Sequence[Any], kind: str) -> list[Mapping[str, Any]]:
    """What of one kind is said in annotations that were not skipped."""
    given = [each.get("result") for each in annotations if isinstance(each, dict) and not each.get("was_cancelled")]
    results = [result for each in given if isinstance(each, list) for result in each]
    return [result for result in results if isinstance(result, dict) and result.get("type") == kind]


def _ids_in(value: Any) -> list[str]:
    ranker = value.get("ranker") if isinstance(value, dict) else None
    lists = ranker.values() if isinstance(ranker, dict) else [ranker]
    return [str(each) for given in lists if isinstance(given, list) for each in given]


def _votes(annotations: Sequence[Any], ids: Names, now: datetime) -> list[Vote]:
    heard: list[tuple[Heard, dict[str, Any]]] = []
    for annotation in annotations:
        if not isinstance(annotation, dict):
            raise Unusable("An annotation is not an object.")
        if annotation.get("was_cancelled"):
            continue  # a skipped task was not judged
        found, order = _heard(annotation.get("result") or [], ids)
        heard.append((found, {"order": order, **_about(annotation, now)}))
    said = [each for each in heard if each[0].has_said()]
    if heard and not said:
        raise Unusable("The task has annotations, and nothing is said in them.")
    settle([each for each, _ in said])
    return [each.vote(**about) for each, about in said]


def _about(annotation: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Who said it, when, in which time, under which id."""
    about: dict[str, Any] = {
        "who": _annotator(annotation.get("completed_by")), "at": time_in(annotation, "created_at", now),
        "id": id_in(annotation, "id"),
    }  # fmt: skip
    seconds = annotation.get("lead_time")
    if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and 0 <= seconds <= MAX_SECONDS:
        about["seconds"] = float(seconds)
    return about


def _heard(results: Any, ids: Names) -> tuple[Heard, tuple[int, ...]]:
    """(what is said, the order in which the answers stood, where a pairwise result shows it)"""
    if not isinstance(results, list):
        raise Unusable("The result of an annotation is not a list.")
    heard = Heard(ids)
    order: tuple[int, ...] = ()
    for result in results:
        value = result.get("value") if isinstance(result, dict) else None
        if not isinstance(value, dict):
            raise Unusable("A result of an annotation is not an object with a value.")
        kind, name, to = result.get("type"), str(result.get("from_name") or result.get("type")), result.get("to_name")
        if kind == "pairwise":
            order = _pairwise(heard, name, value.get("selected"), to)
        elif kind == "ranker":
            heard.rank(name, _ranked(value.get("ranker"), ids))
        elif kind == "choices":
            _choices(heard, name, value.get("choices"), to)
        elif kind in ("rating", "number"):
            heard.rate(name, value.get(kind), place_of(to, ids) if isinstance(to, str) else None)
        elif kind in ("textarea", None) and isinstance(value.get("text"), (str, list)):
            parts = value["text"] if isinstance(value["text"], list) else [value["text"]]
            texts = [text for part in parts if part is not None and (text := str(part).strip())]
            heard.comments += tuple(Said(text, name, _about_which(to, ids)) for text in texts)
        else:
            raise Unusable(f"The result {name[:40]} is of a kind that is not understood ({str(kind)[:40]}).")
    return heard, order


def _pairwise(heard: Heard, name: str, selected: Any, to: Any) -> tuple[int, ...]:
    """The order shown: left is the first answer, or the one that the control names first."""
    ids = heard.answers
    if selected not in ("left", "right") or len(ids) != 2:
        raise Unusable("A pairwise result selects left or right of two answers.")
    order = _named(to, ids) if isinstance(to, str) else (0, 1)
    better = order[0] if selected == "left" else order[1]
    heard.choose(name, "ranked", (2, 1) if better else (1, 2))
    return order


@lru_cache(maxsize=256)
def _named(to: str, ids: Names) -> tuple[int, ...]:
    """The order in which a control such as “answer2,answer1” names the answers, as far as it does."""
    names = [name.strip() for name in to.split(",")]
    places = [place_of(name, ids) for name in names]
    for name, place in zip(names, places, strict=True):
        if place is None and ANSWER.match(name.casefold()):
            raise Unusable(f"The pairwise result names {name[:40]}, which is none of the answers.")
    if len(places) != 2 or places == [None, None]:
        return (0, 1)
    if places[0] == places[1]:
        raise Unusable(f"The pairwise result names one answer twice ({to[:40]}).")
    return (0, 1) if places[0] == 0 or places[1] == 1 else (1, 0)


def _choices(heard: Heard, name: str, options: Any, to: Any) -> None:
    """One option that names an answer, or a tie, is the choice; others are reasons, with the answer that they are about."""
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        raise Unusable(f"The choices of {name[:40]} are not a list of texts.")
    about = _about_which(to, heard.answers)
    if about or len(options) != 1 or not heard.choose_option(name, options[0]):
        heard.reasons += tuple(Said(option, name, about) for option in options)


def _about_which(to: Any, ids: Names) -> str:
    """The name of the answer that a control is about, if it is about one."""
    return to if isinstance(to, str) and place_of(to, ids) is not None else ""


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
