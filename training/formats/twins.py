"""Which answers of a prompt nobody could tell apart on their way back: the same text by what the file calls the same model.

An import takes two such answers for one, unless each has an id. They get one only where it matters, and it follows from what is said
of them and in their tasks, so that it is the same after every import. No Django.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

Look = tuple[str, str]  # model, hash of the text


class Task(NamedTuple):
    campaign: str
    candidates: tuple[int, ...]


def ids_of_twins(
    tasks: Mapping[int, Task],
    looks: Mapping[int, Look],
    said: Callable[[int], bytes],
    heard: Callable[[Iterable[int], Collection[int]], Mapping[int, object]],
) -> dict[int, str]:
    """Ids of those answers of one prompt's tasks that need one, by candidate: 1, 2 ... among those that look the same.

    looks  what an import knows an answer by
    said   all that the file says of a candidate besides, as bytes
    heard  (tasks, candidates) -> of each candidate what was said of it in these tasks, to be sorted by
    Two of one look that stand in the same single task are told apart there, by their places.
    """
    by_look: dict[Look, list[int]] = defaultdict(list)
    for candidate in {candidate for task in tasks.values() for candidate in task.candidates}:
        by_look[looks[candidate]].append(candidate)
    twins = {look: sorted(some) for look, some in by_look.items() if len(some) > 1}
    if not twins:
        return {}
    places: dict[int, set[int]] = defaultdict(set)
    for number, task in tasks.items():
        for candidate in task.candidates:
            places[candidate].add(number)
    merged = _merged(tasks, looks)
    ids: dict[int, str] = {}
    for look, some in twins.items():
        shared = set().union(*(places[candidate] for candidate in some))
        differ = len({said(candidate) for candidate in some}) > 1
        if len(shared) == 1 or not (differ or look in merged):
            continue
        rest = heard(shared, some)
        ordered = sorted(some, key=lambda candidate: (said(candidate), rest[candidate]))
        ids |= {candidate: str(number) for number, candidate in enumerate(ordered, 1)}
    return ids


def _merged(tasks: Mapping[int, Task], looks: Mapping[int, Look]) -> set[Look]:
    """The looks in which tasks of one campaign differ that an import would take for one task."""
    alike: dict[object, list[Task]] = defaultdict(list)
    for task in tasks.values():
        alike[task.campaign, tuple(sorted(looks[candidate] for candidate in task.candidates))].append(task)
    merged = set()
    for some in alike.values():
        if len(some) > 1:
            of_all = Counter(candidate for task in some for candidate in set(task.candidates))
            merged |= {looks[candidate] for candidate, n in of_all.items() if n < len(some)}
    return merged
