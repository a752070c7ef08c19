"""What a dataset's recorded judgements are made up of, counted by the database in one statement over them all."""

from typing import NamedTuple

from django.db.models import Count

from training.models import Snapshot


class Part(NamedTuple):
    """The judgements of one person, of one campaign as it was asked then, on the prompts of one set."""

    campaign_id: int
    guidelines: int
    protocol: int
    prompt_set_id: int
    kind: str
    pseudonym: str
    n: int


_COLUMNS = (
    "judgement__assignment__task__campaign_id", "judgement__guidelines_version", "judgement__protocol_version",
    "judgement__assignment__task__prompt__set_id", "judgement__assignment__annotator__kind",
    "judgement__assignment__annotator__pseudonym",
)  # fmt: skip


def makeup_of(snapshot: Snapshot) -> list[Part]:
    rows = snapshot.members.order_by().values_list(*_COLUMNS).annotate(n=Count("pk"))
    return [Part(*row) for row in rows]
