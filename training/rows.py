"""From the recorded membership to votes, and from votes to the dataset's rows: the same record gives the same rows.

Everything streams: the members come ordered by the hash of their prompt, and the rows of one prompt are made together.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import Any

from django.db import connection

from accounts.models import Project
from annotation.models import Campaign, Flag, Judgement
from annotation.protocol import Protocol
from core.bulk import chunks
from core.errors import DomainError, require
from training.formats.ballots import Counts, Split, Vote
from training.formats.canonical import ERASED
from training.formats.policy import PairPolicy
from training.formats.preference import Built, rows_of_prompt, word_signature
from training.formats.records import Names
from training.models import Snapshot
from training.near import Near, Neighbours
from training.reading import CHUNK, Chunk, Reader, prompts_of
from training.selecting import STANDING_FLAGS, Member, Selection, check_named, in_rounds, read_selection, settled

_prompt_id = attrgetter("prompt_id")


@dataclass(frozen=True)
class Facts:
    """What rows depend on besides the judgements, as it stood at the freeze: it may change afterwards, and the rows may not.

    campaigns  by key: {"levels": strength levels, "worse": people chose the worse one,
               "criteria": {name: [kind, levels, whether higher is better]}}
    flagged    answers (keys) that are taken out of rankings
    vetoed     answers (keys) that must not be chosen
    """

    campaigns: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    flagged: frozenset[str] = frozenset()
    vetoed: frozenset[str] = frozenset()

    def stored(self) -> dict[str, Any]:
        return {
            "campaigns": dict(self.campaigns),
            "flagged": sorted(self.flagged),
            "vetoed": sorted(self.vetoed),
        }


@dataclass(frozen=True)
class Recipe:
    """Everything besides the members that rows are made from."""

    policy: PairPolicy = field(default_factory=PairPolicy)
    selection: Selection = field(default_factory=Selection)
    facts: Facts = field(default_factory=Facts)


def facts_now(campaigns: Iterable[Campaign], selection: Selection, policy: PairPolicy) -> Facts:
    campaigns = list(campaigns)

    def answers(kinds: Iterable[str]) -> frozenset[str]:
        flags = Flag.objects.filter(
            task__campaign__in=campaigns, kind__in=list(kinds), status__in=STANDING_FLAGS, candidate__isnull=False
        )
        return frozenset(flags.values_list("candidate__key", flat=True).distinct()) if kinds else frozenset()

    return Facts(
        campaigns={campaign.key: _scale_of(campaign) for campaign in campaigns},
        flagged=answers(selection.without_flags),
        vetoed=answers(policy.veto_flags),
    )


def _scale_of(campaign: Campaign) -> dict[str, Any]:
    criteria = Protocol.parse(campaign.protocol).criteria
    return {
        "levels": campaign.strength_levels,
        "worse": campaign.chosen_is_worse,
        "criteria": {each.name: [each.kind, each.levels, each.is_higher_better] for each in criteria},
    }


def recipe_of(snapshot: Snapshot) -> Recipe:
    """As it was recorded. A snapshot from before facts were recorded has those of its campaigns."""
    policy, selection = PairPolicy.parse(snapshot.pair_policy), read_selection(snapshot.selection)
    stored = snapshot.facts
    if not stored:
        return Recipe(policy, selection, facts_now(snapshot.campaigns.all(), selection, policy))
    flagged, vetoed = frozenset(stored["flagged"]), frozenset(stored["vetoed"])
    return Recipe(policy, selection, Facts(stored["campaigns"], flagged, vetoed))


def read_policy(given: Mapping[str, Any]) -> PairPolicy:
    """Raises DomainError for what makes no sense."""
    try:
        return PairPolicy.parse(given)
    except ValueError as problem:
        raise DomainError(str(problem)) from None


def read_recipe(
    project: Project,
    campaigns: Sequence[Campaign],
    selection: Mapping[str, Any] | None,
    pair_policy: Mapping[str, Any] | None,
) -> tuple[list[Campaign], Selection, PairPolicy]:
    """What a person asks to be frozen: the campaigns of the rounds chosen, and both halves of the recipe.

    Raises DomainError for what makes no sense, and for a model, a person or a criterion that is not there: it would choose nothing.
    """
    given = selection or {}
    chosen, policy = settled(project, read_selection(given)), read_policy(pair_policy or {})
    named = given.get("campaigns")
    require(
        named is None
        or (isinstance(named, (list, tuple)) and set(map(str, named)) == {each.key for each in campaigns}),
        "The selection names other campaigns than those that are to be frozen.",
        how="Leave the campaigns out of the selection.",
    )
    check_named(project, chosen)
    _check_asked(campaigns, policy)
    of_rounds = in_rounds(project, campaigns, chosen)
    require(
        of_rounds or not campaigns,
        "None of these campaigns belongs to the rounds chosen.",
        how="Choose other rounds, or none.",
    )
    return of_rounds, chosen, policy


def _check_asked(campaigns: Iterable[Campaign], policy: PairPolicy) -> None:
    asked = [each for campaign in campaigns for each in Protocol.parse(campaign.protocol).criteria]
    if unknown := sorted(policy.criteria_used - {each.name for each in asked}):
        told = ", ".join(sorted({each.name for each in asked}))
        raise DomainError(
            f"None of these campaigns asks about “{unknown[0][:60]}”.",
            how=f"They ask about: {told}." if told else "They ask about no criterion.",
        )
    is_rated = any(each.name == policy.veto_criterion and each.kind == "rate" for each in asked)
    require(
        is_rated or not policy.veto_criterion,
        f"The criterion {policy.veto_criterion} compares two answers; only one that rates each can veto.",
    )


def recorded_members(snapshot: Snapshot) -> Iterator[Member]:
    """The membership as it was recorded, whatever was judged, undone or voided since; by the hash of the prompt."""
    content = "judgement__assignment__task__prompt__content_sha256"
    rows = snapshot.members.order_by(content, "judgement_id").values_list("judgement_id", "split", content)
    found: Iterator[tuple[int, str, str]] = rows.iterator(chunk_size=CHUNK)
    for judgement_id, split, sha256 in _read_whole(found) if connection.vendor == "sqlite" else found:
        yield Member(judgement_id, "test" if split == "test" else "train", sha256)


def _read_whole(rows: Iterator[tuple[int, str, str]]) -> Iterator[tuple[int, str, str]]:
    """Read before the first is given, 41 bytes each. A statement of SQLite's that is still open keeps to the moment it began
    at: once anybody else has written, its connection can write nothing, not even a beat."""
    ids, hashes, tests = array("q"), bytearray(), bytearray()
    for judgement_id, split, sha256 in rows:
        ids.append(judgement_id)
        hashes += bytes.fromhex(sha256)
        tests.append(split == "test")
    for place, judgement_id in enumerate(ids):
        yield judgement_id, "test" if tests[place] else "train", hashes[32 * place : 32 * place + 32].hex()


# --- votes ------------------------------------------------------------------------------------------------------------

Answer = tuple[str, str, int]  # key, text, rank


class _Votes:
    """The judgements of one chunk as votes, in the order of the members, which is that of their prompts' hashes."""

    def __init__(self, chunk: Chunk, reader: Reader, recipe: Recipe) -> None:
        self.chunk, self.reader, self.recipe = chunk, reader, recipe
        self.left = self._left()
        self.scores: dict[int, dict[str, dict[str | None, int]]] = {}
        if recipe.policy.criteria_used:
            for pk, scores in chunk.scores.items():
                of_this = self.scores.setdefault(pk, {})
                for candidate, criterion, value in scores:
                    of_this.setdefault(criterion, {})[candidate and chunk.candidates[candidate][0]] = value

    def _left(self) -> dict[int, tuple[str, str]]:
        """(key, text) of the answers that the selection leaves in, by candidate."""
        selection, flagged, arms = self.recipe.selection, self.recipe.facts.flagged, self.reader.arms
        rows = self.chunk.candidates
        if selection.by_model:
            wanted = {
                arm
                for arm, model in arms.items()
                if (not selection.models or model in selection.models) and model not in selection.not_models
            }
            rows = {pk: row for pk, row in rows.items() if row[2] in wanted}
        return {pk: (row[0], row[1]) for pk, row in rows.items() if row[0] not in flagged}

    def _answers(self, pk: int) -> list[Answer]:
        """Sorted by rank, then key."""
        left = self.left
        answers = [(*left[candidate], rank) for candidate, rank in self.chunk.ranks.get(pk, ()) if candidate in left]
        answers.sort(key=_rank_and_key)
        return answers

    def __iter__(self) -> Iterator[Vote]:
        chunk, policy, facts = self.chunk, self.recipe.policy, self.recipe.facts
        with_rulings, has_vetoes = self.recipe.selection.with_adjudicated, bool(facts.vetoed or policy.veto_criterion)
        for pk, (split, prompt_id) in chunk.members.items():
            key, verdict, strength, source, write_in, task, *_ = chunk.judgements[pk]
            prompt, campaign, *_ = chunk.tasks[task]
            scale, answers = facts.campaigns[self.reader.campaigns[campaign]], self._answers(pk)
            vetoed = self._vetoed(pk, answers, scale) if has_vetoes else ()
            values: tuple[float, ...] = ()
            if policy.criteria:
                slots = [str(chunk.candidates[candidate][0]) for candidate in chunk.slots.get(task, ())]
                answers, values = self._by_criteria(pk, answers, scale, slots=slots)
                verdict = "unscored" if not values else "ranked" if len(set(values)) > 1 else "tie"
            elif scale["worse"]:
                answers = _turned_round(answers)
            levels = scale["levels"]
            yield Vote(
                key=key,
                split=split,
                prompt_id=prompt_id,
                prompt=chunk.prompts[prompt],
                answers=[(text, rank) for _, text, rank in answers],
                verdict=verdict,
                strength=strength / levels if strength and levels else 0.0,
                values=values,
                task=task,
                is_ruling=with_rulings and source == Judgement.Source.ADJUDICATOR,
                write_in=write_in if policy.write_ins and write_in != ERASED else "",
                vetoed=vetoed,
            )

    def _by_criteria(
        self, pk: int, answers: list[Answer], scale: Mapping[str, Any], *, slots: list[str]
    ) -> tuple[list[Answer], tuple[float, ...]]:
        """The answers ranked by the weighted sum of the criteria, with that sum, 0 ... 1; none of them where a score is missing."""
        policy, given = self.recipe.policy, self.scores.get(pk, {})
        total = {key: 0.0 for key, _, _ in answers}
        whole = sum(abs(weight) for _, weight in policy.criteria)
        for name, weight in policy.criteria:
            kind = scale["criteria"].get(name)
            for key in total:
                value = _value(key, kind, given.get(name, {}), slots)
                if value is None:
                    return [], ()
                total[key] += abs(weight) / whole * (value if weight > 0 else 1 - value)
        rounded = {key: round(value, 9) for key, value in total.items()}
        ranks = {value: rank for rank, value in enumerate(sorted(set(rounded.values()), reverse=True), 1)}
        ranked = sorted(((key, text, ranks[rounded[key]]) for key, text, _ in answers), key=_rank_and_key)
        return ranked, tuple(rounded[key] for key, _, _ in ranked)

    def _vetoed(self, pk: int, answers: list[Answer], scale: Mapping[str, Any]) -> tuple[str, ...]:
        policy, vetoed = self.recipe.policy, self.recipe.facts.vetoed
        scores = self.scores.get(pk, {}).get(policy.veto_criterion, {})
        kind = scale["criteria"].get(policy.veto_criterion, ["", 0, True])

        def is_bad(key: str) -> bool:
            value = scores.get(key)
            if key in vetoed or value is None or kind[0] != "rate":
                return key in vetoed
            return value <= policy.veto_at if kind[2] else value >= policy.veto_at

        return tuple(text for key, text, _ in answers if is_bad(key))


def _value(key: str, kind: list[Any] | None, scores: Mapping[str | None, int], slots: list[str]) -> float | None:
    """One answer's worth by one criterion, 0 (worst) ... 1; None where it was not asked or not answered."""
    if kind is None:
        return None
    what, levels, is_higher_better = kind
    if what == "rate":
        value = scores.get(key)
        share = None if value is None else (value - 1) / (levels - 1)
    else:  # of two: -levels ... levels, negative where the answer in slot 0 is better
        value = scores.get(None)
        towards = {slots[0]: -1, slots[1]: 1} if len(slots) == 2 else {}
        share = None if value is None or key not in towards else 0.5 + towards[key] * value / levels / 2
    return share if share is None or is_higher_better else 1 - share


def _rank_and_key(answer: Answer) -> tuple[int, str]:
    return answer[2], answer[0]


def _turned_round(answers: list[Answer]) -> list[Answer]:
    """Where people were asked for the worse of two: the ranking as given is kept, and turned round only here."""
    worst = max((rank for _, _, rank in answers), default=1)
    return sorted(((key, text, worst + 1 - rank) for key, text, rank in answers), key=_rank_and_key)


class Builder:
    """Makes the rows of chunks, sorted by prompt and row. ``counts`` and ``across`` are complete after ``finish``.

    across  held-out prompts with rows that are near one that is trained on
    twins   of ``twins_among``, where near ones are dropped
    names   of ``training.records``, where the lines of the full format are wanted too
    """

    def __init__(
        self, recipe: Recipe, counts: Counts, *, twins: Mapping[str, int] | None = None, names: Names | None = None
    ) -> None:
        self.recipe, self.counts, self.twins = recipe, counts, twins or {}
        self.near = Neighbours()
        self.across: list[Near] = []
        self.reader = Reader(criteria=recipe.policy.criteria_used, names=names)
        self._seen: set[tuple[Split, str, int]] = set()

    def rows(self, chunk: Chunk) -> Iterator[Built]:
        """Of the next chunk, in the order of prompts. Asks nothing of the database."""
        policy, counts = self.recipe.policy, self.counts
        for prompt_id, votes in groupby(_Votes(chunk, self.reader, self.recipe), key=_prompt_id):
            built = rows_of_prompt(votes, policy, counts)
            if not built:
                continue
            if policy.duplicates != "keep" and (why := self._why_not(built[0], prompt_id)):
                _take_back(built, counts, why)
                continue
            self.near.add(built[0].split, prompt_id, built[0].row["prompt"])
            yield from built

    def _why_not(self, first: Built, prompt_id: str) -> str:
        """Whether a prompt with rows before it, on its side, reads alike: is of the same words or, if so asked, nearly the same."""
        groups = [("same_words", int(word_signature(first.row["prompt"])[:16], 16))]
        if (twin := self.twins.get(prompt_id[:16])) is not None:  # only where near ones are dropped
            groups.append(("near", twin))
        found = [why for why, group in groups if (first.split, why, group) in self._seen]
        self._seen.update((first.split, why, group) for why, group in groups)
        return found[-1] if found else ""

    def finish(self) -> None:
        self.across, self.near = self.near.across(), Neighbours()  # what it held is free for what comes then
        self.counts.near_duplicates = len(self.across)


def build(
    members: Iterable[Member], recipe: Recipe, counts: Counts, *, twins: Mapping[str, int] | None = None
) -> Iterator[Built]:
    """The dataset's rows, sorted by prompt and row; ``counts`` are complete when the last one has been taken.

    members  ordered by the hash of their prompt
    """
    builder = Builder(recipe, counts, twins=twins)
    for chunk in builder.reader.chunks(members):
        yield from builder.rows(chunk)
    builder.finish()


def twins_among(
    members: Iterable[Member], recipe: Recipe, *, beat: Callable[[], None] = lambda: None
) -> dict[str, int]:
    """Which prompts of the members are near another one on their side: the number of their group, by the first 16 digits of their hashes.

    Nothing where near ones are kept. ``beat`` is called now and then, and may raise.
    """
    if recipe.policy.duplicates != "drop_near":
        return {}
    near = Neighbours()
    firsts = (next(same) for _, same in groupby(members, key=lambda member: member.content_sha256))
    for some in chunks(firsts, CHUNK):
        beat()
        messages = prompts_of([member.judgement_id for member in some])
        for member in some:
            near.add(member.split, member.content_sha256, messages[member.judgement_id])
    return near.twins()


def _take_back(built: list[Built], counts: Counts, why: str) -> None:
    """A prompt that reads like one before it in its split: its rows are counted as left out."""
    split: Split = built[0].split
    pairs = [one for one in built if one.kind == "pair"]
    counts.rows[split] -= len(pairs)
    counts.prompts[split] -= bool(pairs)
    counts.unpaired[split] -= len(built) - len(pairs)
    counts.dropped[why] += len(pairs)
