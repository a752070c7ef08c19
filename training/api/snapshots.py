"""The API of frozen datasets: preview, freeze, their rows, files and lineage."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import NotFound

from accounts.api.base import JOB_FIELDS, Given, InProject, ProjectApi, call, key_of
from accounts.tokens import Scope
from core.api import StrictSerializer, answer_page
from core.errors import require
from core.jobs import JobStatus
from training import freezing
from training.api.recipes import PairPolicyField, SelectionField
from training.blinding import hides_rows, note_rows_seen
from training.formats.ballots import SPLITS
from training.formats.files import UNPAIRED, name_of, row_and_lineage
from training.formats.preference import COLUMNS, UNPAIRED_COLUMNS
from training.models import Snapshot
from training.previewing import REASONS, dropped_in_words, preview, warnings_of
from training.previewing import SnapshotPreview as Preview
from training.selecting import freezable_campaigns
from training.snapshots import check_snapshot, directory_of

READERS = (Scope.READ, Scope.EXPORT)


class DroppedSerializer(serializers.Serializer[Any]):
    reason = serializers.ChoiceField(choices=list(REASONS))
    n = serializers.IntegerField(help_text="how many")
    of = serializers.ChoiceField(choices=list(dict.fromkeys(of for of, _ in REASONS.values())), help_text="of what")
    words = serializers.CharField(help_text="the reason in words")


class SnapshotSerializer(serializers.ModelSerializer[Snapshot]):
    campaigns = key_of(many=True)
    dropped = serializers.SerializerMethodField(help_text="what is not in the rows, and why")
    warnings = serializers.SerializerMethodField()

    class Meta:
        model = Snapshot
        fields = (
            "key", "name", "purpose", *JOB_FIELDS, "campaigns", "selection", "pair_policy", "sealed_at", "counts", "dropped",
            "warnings", "sha256", "artifact_sha256",
        )  # fmt: skip
        extra_kwargs = {
            "selection": {"help_text": "campaigns, and the settings that choose something: docs/reference/recipes.md"},
            "pair_policy": {"help_text": "the settings that are not the default: docs/reference/recipes.md"},
        }

    @extend_schema_field(DroppedSerializer(many=True))
    def get_dropped(self, snapshot: Snapshot) -> list[dict[str, Any]]:
        return _dropped(dropped_in_words(snapshot.counts)) if snapshot.is_ready else []

    def get_warnings(self, snapshot: Snapshot) -> list[str]:
        return list(warnings_of(snapshot.counts)) if snapshot.is_ready else []


def _dropped(found: Any) -> list[dict[str, Any]]:
    return [{"reason": reason, "n": n, "of": of, "words": words} for reason, n, of, words in found]


class SnapshotFilterSerializer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(required=False, choices=JobStatus.choices)


class RecipeSerializer(StrictSerializer):
    """Which judgements go in, and how several of one pair become rows; docs/reference/recipes.md says what each setting does."""

    campaigns = serializers.ListField(child=InProject(freezable_campaigns), allow_empty=False, max_length=1000)
    selection = SelectionField(child=serializers.JSONField(allow_null=True), default=dict)
    pair_policy = PairPolicyField(child=serializers.JSONField(allow_null=True), default=dict)


class NewSnapshotSerializer(RecipeSerializer):
    name = serializers.CharField(max_length=100)


class _MessageSerializer(serializers.Serializer[Any]):
    role = serializers.CharField()
    content = serializers.CharField()


class RowSerializer(serializers.Serializer[Any]):
    """One row as it was frozen: of a pair, or (where asked for) of an answer without a pair, which has no more than its own columns."""

    id = serializers.CharField(help_text=COLUMNS["id"])
    prompt_id = serializers.CharField(help_text=COLUMNS["prompt_id"])
    prompt = _MessageSerializer(many=True, help_text=COLUMNS["prompt"])
    chosen = _MessageSerializer(many=True, required=False, help_text=COLUMNS["chosen"])
    rejected = _MessageSerializer(many=True, required=False, help_text=COLUMNS["rejected"])
    margin = serializers.FloatField(required=False, help_text=COLUMNS["margin"])
    n_votes = serializers.IntegerField(help_text="judgements of this pair, or of this answer")
    vote_share = serializers.FloatField(help_text="share of them that say what the row says")
    weight = serializers.FloatField(required=False, help_text=COLUMNS["weight"])
    completion = _MessageSerializer(
        many=True, required=False, help_text=f"without a pair: {UNPAIRED_COLUMNS['completion']}"
    )
    label_ = serializers.BooleanField(required=False, help_text=f"without a pair: {UNPAIRED_COLUMNS['label']}")

    def get_fields(self) -> dict[str, Any]:
        # A serializer has a property ``label`` of its own.
        return {name.rstrip("_"): field for name, field in super().get_fields().items()}

    def to_representation(self, row: Any) -> Any:
        return row  # to the byte


class LengthsSerializer(serializers.Serializer[Any]):
    chosen = serializers.FloatField(help_text="characters of a chosen answer, on average")
    rejected = serializers.FloatField(help_text="characters of a rejected one")
    chosen_longer = serializers.FloatField(help_text="share of the rows whose chosen answer is the longer one")


class PreviewSerializer(serializers.Serializer[Any]):
    """What a freeze would give now. Of many judgements only those of a sample of prompts are read: then the numbers are estimates."""

    n_rows = serializers.IntegerField(help_text="pairs")
    n_train = serializers.IntegerField()
    n_test = serializers.IntegerField(help_text="pairs whose prompt is held out")
    n_prompts = serializers.IntegerField()
    n_holdout_prompts = serializers.IntegerField()
    n_people = serializers.IntegerField()
    n_judgements = serializers.IntegerField()
    n_imported = serializers.IntegerField(help_text="of the judgements: votes of people elsewhere")
    n_unpaired = serializers.IntegerField(help_text="answers without a pair")
    dropped = serializers.SerializerMethodField(help_text="what is not in the rows, and why")
    agreement = serializers.FloatField(
        allow_null=True, help_text="of people who judged one pair; null where nobody judged one twice"
    )
    n_overlapping = serializers.IntegerField(help_text="pairs judged twice or more")
    n_disputed = serializers.IntegerField(help_text="pairs on which people disagree")
    lengths = LengthsSerializer(allow_null=True)
    first_rows = RowSerializer(many=True, help_text="none where they are hidden")
    warnings = serializers.ListField(child=serializers.CharField())
    share = serializers.FloatField(help_text="of the prompts that were read; 1 for all")

    @extend_schema_field(DroppedSerializer(many=True))
    def get_dropped(self, found: Preview) -> list[dict[str, Any]]:
        return _dropped(found.dropped)


class _Snapshots(ProjectApi):
    @property
    def rows(self) -> Any:
        return self.project.snapshots.prefetch_related("campaigns").select_related("project")

    def now(self, snapshot: Snapshot) -> Any:
        return self.found(self.rows, pk=snapshot.pk)


class Snapshots(_Snapshots):
    @call(*READERS, query=SnapshotFilterSerializer, lists=SnapshotSerializer)
    def get(self, given: Given) -> Any:
        """Datasets, newest first."""
        return self.rows.filter(**{name: given[name] for name in ("status",) if name in given})

    @call(Scope.EXPORT, asks=NewSnapshotSerializer, tells=SnapshotSerializer, status=201, once=True)
    def post(self, given: Given) -> Any:
        """Freeze a dataset: a job; its membership is recorded in one consistent read."""
        return freezing.start_freeze(project=self.project, by=self.by, **given)


class SnapshotPreview(_Snapshots):
    @call(Scope.EXPORT, asks=RecipeSerializer, tells=PreviewSerializer)
    def post(self, given: Given) -> Any:
        """What a freeze would give at this moment. Rows chosen by model are hidden while people may still judge them."""
        found, is_hidden = preview(project=self.project, **given), hides_rows(given, self.by)
        return replace(found, first_rows=()) if is_hidden else found


class OneSnapshot(_Snapshots):
    @call(*READERS, tells=SnapshotSerializer)
    def get(self, given: Given, key: str) -> Any:
        """One dataset: its recipe, its counts, its hash."""
        return self.found(self.rows, key=key)


class CancelSnapshot(_Snapshots):
    @call(Scope.EXPORT, tells=SnapshotSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Stop a freeze."""
        found = self.found(self.rows, key=key)
        freezing.cancel_freeze(found, by=self.by)
        return self.now(found)


class RetrySnapshot(_Snapshots):
    @call(Scope.EXPORT, tells=SnapshotSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Try a freeze again that came to nothing."""
        found = self.found(self.rows, key=key)
        freezing.freeze_again(found, by=self.by)
        return self.now(found)


class CheckSnapshot(_Snapshots):
    @call(Scope.EXPORT, tells=SnapshotSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Build the rows again from what was recorded, and compare the hashes. 422 where they differ."""
        found = self.found(self.rows, key=key)
        check_snapshot(found)
        return found


# ---- rows --------------------------------------------------------------------------------------------------------------


class RowFilterSerializer(serializers.Serializer[Any]):
    split = serializers.ChoiceField(required=False, default="train", choices=list(SPLITS))
    kind = serializers.ChoiceField(
        required=False, default="pair", choices=["pair", UNPAIRED], help_text="unpaired: answers without a pair"
    )


class RowLineageSerializer(serializers.Serializer[Any]):
    """A row and the judgements behind it, with their weights; each judgement leads on (``judgements/KEY/lineage``)."""

    id = serializers.CharField()
    split = serializers.CharField()
    row = serializers.JSONField()
    judgements = serializers.JSONField()


class Rows(_Snapshots):
    @call(*READERS, query=RowFilterSerializer, lists=RowSerializer)
    def get(self, given: Given, key: str) -> Any:
        """The rows of one split and kind, in the order of the file."""
        snapshot = self.found(self.rows, key=key)
        path = directory_of(snapshot) / f"{name_of(given['split'], given['kind'])}.jsonl"
        if given["kind"] == UNPAIRED and not path.exists():  # its recipe makes no such rows
            return answer_page(self.request, [], None)
        rows, following = lines_from(path, given.get("cursor", "0"), given["limit"])
        note_rows_seen(self.by, snapshot)
        return answer_page(self.request, rows, following)


def lines_from(path: Path, cursor: str, n: int) -> tuple[list[Any], str | None]:
    """``n`` lines of a JSONL file from a byte on, and the byte that the next ones begin at; None at the end."""
    n_bytes = path.stat().st_size
    start = int(cursor) if cursor.isascii() and cursor.isdecimal() and len(cursor) < 18 else -1
    with path.open("rb") as file:
        file.seek(max(0, start - 1))
        is_begin = start == 0 or (0 < start < n_bytes and file.read(1) == b"\n")
        require(is_begin, "This cursor is unknown.", how="Begin again without one.")
        rows = [orjson.loads(line) for _, line in zip(range(n), file, strict=False)]
        end = file.tell()
    return rows, str(end) if end < n_bytes else None


class RowLineage(_Snapshots):
    @call(*READERS, tells=RowLineageSerializer)
    def get(self, given: Given, key: str, row: str) -> Any:
        """One row with the judgements that it comes from."""
        snapshot = self.found(self.rows, key=key)
        found = row_and_lineage(directory_of(snapshot), row)
        if found is None:
            raise NotFound("There is no such row.")
        told, entry = found
        note_rows_seen(self.by, snapshot)
        return {"id": row, "split": entry["split"], "row": told, "judgements": entry["judgements"]}
