"""From the recorded membership to votes, and from votes to the dataset's rows: the same record gives the same rows."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from annotation.models import Judgement, RankedCandidate
from generation.models import Prompt
from training.formats.preference import Built, Counts, PairPolicy, Split, Vote, rows_of_prompt, word_signature
from training.models import Snapshot
from training.selecting import Member

CHUNK = 500


def recorded_members(snapshot: Snapshot) -> list[Member]:
    """The membership as it was recorded, whatever was judged, undone or voided since."""
    rows = snapshot.members.values_list(
        "judgement_id", "split", "judgement__assignment__task__prompt__content_sha256"
    ).iterator(chunk_size=2000)
    return [
        Member(judgement_id, "test" if split == "test" else "train", content) for judgement_id, split, content in rows
    ]


def votes_of(members: Iterable[Member]) -> Iterator[Vote]:
    """The members' judgements as votes, those of one prompt together, in the order of the prompts' hashes."""
    ordered = sorted(members, key=lambda member: (member.content_sha256, member.judgement_id))
    for start in range(0, len(ordered), CHUNK):
        chunk = {member.judgement_id: member for member in ordered[start : start + CHUNK]}
        judgements = {
            pk: (key, verdict, strength, levels, prompt_id, is_flipped)
            for pk, key, verdict, strength, levels, prompt_id, is_flipped in Judgement.objects.filter(
                pk__in=list(chunk)
            ).values_list(
                "pk",
                "key",
                "verdict",
                "strength",
                "assignment__task__campaign__strength_levels",
                "assignment__task__prompt_id",
                "assignment__task__campaign__chosen_is_worse",
            )
        }
        answers: dict[int, list[tuple[str, int]]] = {pk: [] for pk in chunk}
        ranks = RankedCandidate.objects.filter(judgement__in=list(chunk)).order_by(
            "judgement_id", "rank", "candidate__key"
        )
        for pk, text, rank in ranks.values_list("judgement_id", "candidate__text", "rank"):
            answers[pk].append((text, rank))
        prompt_ids = {row[4] for row in judgements.values()}
        prompts = dict(Prompt.objects.filter(pk__in=prompt_ids).values_list("pk", "messages"))
        for pk, member in chunk.items():
            key, verdict, strength, levels, prompt_id, is_flipped = judgements[pk]
            yield Vote(
                key=key,
                split=member.split,
                prompt_id=member.content_sha256,
                prompt=prompts[prompt_id],
                answers=_turned_round(answers[pk]) if is_flipped else answers[pk],
                verdict=verdict,
                strength=strength / levels if strength and levels else 0.0,
            )


def _turned_round(answers: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Where people were asked for the worse of two: the ranking as given is kept, and turned round only here."""
    worst = max((rank for _, rank in answers), default=1)
    return sorted(((text, worst + 1 - rank) for text, rank in answers), key=lambda row: row[1])


def build(members: Iterable[Member], policy: PairPolicy, counts: Counts) -> Iterator[Built]:
    """The dataset's rows, sorted by prompt and row; ``counts`` is complete when the last one has been taken."""
    words: dict[Split, set[str]] = {"train": set(), "test": set()}
    for _, votes in groupby(votes_of(members), key=lambda vote: vote.prompt_id):
        built = rows_of_prompt(votes, policy, counts)
        if built:
            words[built[0].split].add(word_signature(built[0].row["prompt"]))
        yield from built
    counts.near_duplicates = len(words["train"] & words["test"])
