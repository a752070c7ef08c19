"""The full format: every judged task of a frozen dataset with its answers and votes, as ``records.jsonl`` beside the rows.

Its keys are those of docs/reference/votes.md. It holds the recorded members and nobody else's votes, no id of the database, and the
same bytes on every database. The lines of the tasks are made in ``training.formats.records``.
"""

from collections import defaultdict
from collections.abc import Iterable

from annotation.models import Campaign, GuidelinesVersion
from annotation.protocol import LETTERS
from core.ids import canonical_json
from generation.models import ModelVersion
from training.formats.records import Names, Record
from training.makeup import Part
from training.models import Snapshot


def head_of(snapshot: Snapshot, makeup: Iterable[Part]) -> tuple[bytes, Names]:
    """The lines of a snapshot's campaigns, and the names that the lines of its tasks are made with."""
    versions: dict[int, set[int]] = defaultdict(set)
    for part in makeup:
        versions[part.campaign_id].add(part.guidelines)
    found = [(_campaign(each, versions[each.pk]), each) for each in Campaign.objects.filter(pk__in=versions)]
    # Of two that are alike in everything the older one comes first: an import makes them in the order of the file.
    found.sort(key=lambda pair: (canonical_json(pair[0]), pair[1].pk))
    lines = b"".join(
        canonical_json({"campaign": {"id": f"c{number}", **said}}) + b"\n" for number, (said, _) in enumerate(found, 1)
    )
    names = {campaign.pk: f"c{number}" for number, (_, campaign) in enumerate(found, 1)}
    return lines, Names(names, _model_names(snapshot), LETTERS.lower())


def _campaign(campaign: Campaign, versions: set[int]) -> Record:
    texts = dict(GuidelinesVersion.objects.filter(campaign=campaign, number__in=versions).values_list("number", "text"))
    if campaign.guidelines_version in versions:
        texts.setdefault(campaign.guidelines_version, campaign.guidelines)
    said = {
        "name": campaign.name, "kind": campaign.kind, "question": campaign.question, "overlap": campaign.overlap,
        "strength_levels": campaign.strength_levels, "allow_tie": campaign.allow_tie,
        "allow_both_good": campaign.allow_both_good, "allow_both_bad": campaign.allow_both_bad,
        "chosen_is_worse": campaign.chosen_is_worse, "protocol_version": campaign.protocol_version,
    }  # fmt: skip
    guidelines = {str(number): text for number, text in sorted(texts.items()) if text}
    more = {"guidelines": guidelines, "protocol": campaign.protocol}
    return said | {name: value for name, value in more.items() if value}


def _model_names(snapshot: Snapshot) -> dict[int, str]:
    """What each model is called: an outside one by its name, unless one of the project's own has that for a slug."""
    versions = list(
        ModelVersion.objects.filter(project=snapshot.project_id).values_list("pk", "kind", "slug", "source")
    )
    own = {slug for _, kind, slug, _ in versions if kind != ModelVersion.Kind.OUTSIDE}
    return {
        pk: source if kind == ModelVersion.Kind.OUTSIDE and source and source not in own else slug
        for pk, kind, slug, source in versions
    }
