"""From the recorded membership to votes, and from votes to the dataset's rows: the same record gives the same rows.

Everything streams: the members come ordered by the hash of their prompt, and the rows of one prompt are made together.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from annotation.models import Campaign, Flag, Judgement, RankedCandidate, Score, TaskCandidate
from annotation.protocol import Protocol
from core.bulk import among
from core.errors import DomainError
from generation.models import Prompt
from training.formats.ballots import Counts, Split, Vote
from training.formats.canonical import messages_in, text_of
from training.formats.files import chunks
from training.formats.policy import PairPolicy
from training.formats.preference import Built, rows_of_prompt, word_signature
from training.models import Snapshot
from training.near import Neighbours
from training.selecting import STANDING_FLAGS, Member, Selection, read_selection

CHUNK = 2000


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


def recorded_members(snapshot: Snapshot) -> Iterator[Member]:
    """The membership as it was recorded, whatever was judged, undone or voided since; by the hash of the prompt."""
    content = "judgement__assignment__task__prompt__content_sha256"
    rows = snapshot.members.order_by(content, "judgement_id").values_list("judgement_id", "split", content)
    for judgement_id, split, sha256 in rows.iterator(chunk_size=CHUNK):
        yield Member(judgement_id, "test" if split == "test" else "train", sha256)


# --- votes ------------------------------------------------------------------------------------------------------------


def votes_of(members: Iterable[Member], recipe: Recipe) -> Iterator[Vote]:
    """The members' judgements as votes, in the order of the members, which is that of their prompts' hashes."""
    for chunk in chunks(members, CHUNK):
        yield from _Chunk({member.judgement_id: member for member in chunk}, recipe).votes()


class _Chunk:
    """Some members with all that was said in them, read in a few statements."""

    def __init__(self, members: dict[int, Member], recipe: Recipe) -> None:
        self.members, self.recipe = members, recipe
        task, campaign = "assignment__task", "assignment__task__campaign"
        ids = list(members)
        columns = ("pk", "key", "verdict", "strength", "source", "write_in", f"{task}_id", f"{task}__prompt_id")
        self.judgements = {
            row[0]: row for row in among(Judgement.objects.all(), "id", ids).values_list(*columns, f"{campaign}__key")
        }
        self.answers = self._answers(ids)
        prompts = among(Prompt.objects.all(), "id", {row[7] for row in self.judgements.values()})
        self.messages = {pk: messages_in(text) for pk, text in prompts.values_list("pk", text_of("messages"))}
        self.scores: dict[int, dict[str, dict[str | None, int]]] = {}
        self.slots: dict[int, list[str]] = {}
        if recipe.policy.criteria_used:
            self._read_scores(ids)

    def _answers(self, ids: list[int]) -> dict[int, list[tuple[str, str, int]]]:
        """(key, text, rank) of the answers that are left, by judgement; sorted by rank, then key."""
        selection, flagged = self.recipe.selection, self.recipe.facts.flagged
        ranks = among(RankedCandidate.objects.all(), "judgement_id", ids)
        if selection.models:
            ranks = ranks.filter(candidate__arm__model_version__key__in=selection.models)
        if selection.not_models:
            ranks = ranks.exclude(candidate__arm__model_version__key__in=selection.not_models)
        found: dict[int, list[tuple[str, str, int]]] = {pk: [] for pk in ids}
        for pk, key, text, rank in ranks.order_by().values_list(
            "judgement_id", "candidate__key", "candidate__text", "rank"
        ):
            if key not in flagged:
                found[pk].append((key, text, rank))
        for answers in found.values():
            answers.sort(key=lambda one: (one[2], one[0]))
        return found

    def _read_scores(self, ids: list[int]) -> None:
        wanted = list(self.recipe.policy.criteria_used)
        scores = among(Score.objects.filter(criterion__in=wanted), "judgement_id", ids)
        for pk, criterion, key, value in scores.values_list("judgement_id", "criterion", "candidate__key", "value"):
            self.scores.setdefault(pk, {}).setdefault(criterion, {})[key] = value
        tasks = {row[6] for row in self.judgements.values()}
        slots = among(TaskCandidate.objects.all(), "task_id", tasks).order_by("task_id", "slot")
        for task, key in slots.values_list("task_id", "candidate__key"):
            self.slots.setdefault(task, []).append(key)

    def votes(self) -> Iterator[Vote]:
        policy, facts, selection = self.recipe.policy, self.recipe.facts, self.recipe.selection
        for pk, member in self.members.items():
            _, key, verdict, strength, source, write_in, task, prompt, campaign = self.judgements[pk]
            scale, answers = facts.campaigns[campaign], self.answers[pk]
            values: tuple[float, ...] = ()
            if policy.criteria:
                answers, values = self._by_criteria(pk, answers, scale, slots=self.slots.get(task, []))
                verdict = "unscored" if not values else "ranked" if len(set(values)) > 1 else "tie"
            elif scale["worse"]:
                answers = _turned_round(answers)
            levels = scale["levels"]
            yield Vote(
                key=key,
                split=member.split,
                prompt_id=member.content_sha256,
                prompt=self.messages[prompt],
                answers=[(text, rank) for _, text, rank in answers],
                verdict=verdict,
                strength=strength / levels if strength and levels else 0.0,
                values=values,
                task=task,
                is_ruling=selection.with_adjudicated and source == Judgement.Source.ADJUDICATOR,
                write_in=write_in if policy.write_ins else "",
                vetoed=self._vetoed(pk, answers, scale),
            )

    def _by_criteria(
        self, pk: int, answers: list[tuple[str, str, int]], scale: Mapping[str, Any], *, slots: list[str]
    ) -> tuple[list[tuple[str, str, int]], tuple[float, ...]]:
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
        ranked = sorted(
            ((key, text, ranks[rounded[key]]) for key, text, _ in answers), key=lambda one: (one[2], one[0])
        )
        return ranked, tuple(rounded[key] for key, _, _ in ranked)

    def _vetoed(self, pk: int, answers: list[tuple[str, str, int]], scale: Mapping[str, Any]) -> tuple[str, ...]:
        policy, vetoed = self.recipe.policy, self.recipe.facts.vetoed
        if not vetoed and not policy.veto_criterion:
            return ()
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


def _turned_round(answers: list[tuple[str, str, int]]) -> list[tuple[str, str, int]]:
    """Where people were asked for the worse of two: the ranking as given is kept, and turned round only here."""
    worst = max((rank for _, _, rank in answers), default=1)
    return sorted(((key, text, worst + 1 - rank) for key, text, rank in answers), key=lambda one: (one[2], one[0]))


def build(members: Iterable[Member], recipe: Recipe, counts: Counts, near: Neighbours | None = None) -> Iterator[Built]:
    """The dataset's rows, sorted by prompt and row; ``counts`` and ``near`` are complete when the last one has been taken.

    members  ordered by the hash of their prompt
    near     is told the prompts, and says which of the dropped ones read like one before
    """
    near = near if near is not None else Neighbours(remember=recipe.policy.duplicates == "drop")
    for prompt_id, votes in groupby(votes_of(members, recipe), key=lambda vote: vote.prompt_id):
        built = rows_of_prompt(votes, recipe.policy, counts)
        if not built:
            continue
        is_new = near.add(built[0].split, prompt_id, word_signature(built[0].row["prompt"]))
        if not is_new and recipe.policy.duplicates == "drop":
            _take_back(built, counts)
            continue
        yield from built
    counts.near_duplicates = near.n_across()


def _take_back(built: list[Built], counts: Counts) -> None:
    """A prompt of the same words as one before it in its split: its rows are counted as left out."""
    split: Split = built[0].split
    pairs = [one for one in built if one.kind == "pair"]
    counts.rows[split] -= len(pairs)
    counts.prompts[split] -= bool(pairs)
    counts.unpaired[split] -= len(built) - len(pairs)
    counts.dropped["same_words"] += len(pairs)
