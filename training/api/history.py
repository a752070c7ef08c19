"""The API of a frozen dataset and time: what became of its judgements, the same recipe again, another dataset beside it."""

from dataclasses import asdict
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.api.base import JOB_FIELDS, Given, InProject, ProjectApi, call, key_of
from accounts.tokens import Scope
from core.api import StrictSerializer
from core.errors import Conflict
from training import comparisons, freezing
from training.api.snapshots import READERS, SnapshotSerializer
from training.blinding import note_rows_seen
from training.comparing import Comparison, compare, require_comparable
from training.models import ComparisonJob, Snapshot
from training.since import WORDS, excluded_since


class SinceSerializer(serializers.Serializer[Any]):
    n = serializers.IntegerField(help_text="judgements that would stay out if it were frozen now")
    why = serializers.DictField(child=serializers.IntegerField(), help_text=", ".join(WORDS))


class CompareFilterSerializer(serializers.Serializer[Any]):
    to = InProject(lambda project: project.snapshots.all(), help_text="the earlier dataset")


class NewComparisonSerializer(StrictSerializer):
    to = InProject(lambda project: project.snapshots.all(), help_text="the earlier dataset")


class ComparisonJobSerializer(serializers.ModelSerializer[ComparisonJob]):
    first = key_of()
    second = key_of()

    class Meta:
        model = ComparisonJob
        fields = ("key", "first", "second", *JOB_FIELDS)


class ComparisonSerializer(serializers.Serializer[Comparison]):
    """How the dataset differs from the earlier one; of the rows the first of each kind."""

    counts = serializers.SerializerMethodField(help_text="rows: in, out, changed, same")
    reasons = serializers.SerializerMethodField(help_text="in, out or changed; why; how many")
    left = serializers.DictField(
        child=serializers.IntegerField(),
        help_text="judgements of the earlier one that this one has not, by what became of them",
    )
    settings = serializers.SerializerMethodField(help_text="of the recipes, those that differ: name, before, after")
    n_joined = serializers.IntegerField(help_text="judgements that only this one has")
    shown = serializers.SerializerMethodField(
        help_text="rows before and after; of the kind `unpaired` with `completion` and `label` in place of `chosen` and `rejected`"
    )

    @extend_schema_field(serializers.DictField(child=serializers.IntegerField()))
    def get_counts(self, found: Comparison) -> dict[str, int]:
        return {what: found.counts[what] for what in ("in", "out", "changed", "same")}

    @extend_schema_field(serializers.ListField(child=serializers.JSONField()))
    def get_reasons(self, found: Comparison) -> list[dict[str, Any]]:
        return [{"what": what, "why": words, "n": n} for what, words, n in found.reasons]

    @extend_schema_field(serializers.ListField(child=serializers.JSONField()))
    def get_settings(self, found: Comparison) -> list[dict[str, Any]]:
        return [{"name": name, "before": before, "after": after} for name, before, after in found.settings]

    @extend_schema_field(serializers.DictField(child=serializers.ListField(child=serializers.JSONField())))
    def get_shown(self, found: Comparison) -> dict[str, list[dict[str, Any]]]:
        return {what: [{"kind": each.kind, **asdict(each)} for each in shown] for what, shown in found.shown.items()}


class _History(ProjectApi):
    def snapshot(self, key: str) -> Snapshot:
        found: Snapshot = self.found(self.project.snapshots.select_related("project"), key=key)
        return found


class Since(_History):
    @call(*READERS, tells=SinceSerializer)
    def get(self, given: Given, key: str) -> Any:
        """Which of its judgements no longer stand."""
        why = excluded_since(self.snapshot(key))
        return {"n": sum(why.values()), "why": why}


class Anew(_History):
    @call(Scope.EXPORT, tells=SnapshotSerializer, status=201, once=True)
    def post(self, given: Given, key: str) -> Any:
        """Freeze the judgements as they stand now, by the recipe of this dataset: a job."""
        return freezing.freeze_anew(self.snapshot(key), by=self.by)


class Compare(_History):
    @call(*READERS, query=CompareFilterSerializer, tells=ComparisonSerializer)
    def get(self, given: Given, key: str) -> Any:
        """What differs from an earlier dataset, and why. 409 for two large ones that nobody had compared by POST, or not to the end yet."""
        first, second = given["to"], self.snapshot(key)
        require_comparable(first, second)
        job = comparisons.comparison_of(first, second)
        if job is not None and job.is_ready:
            found = comparisons.result_of(job)
        elif comparisons.is_small(first, second):
            found = compare(first, second)
        else:
            raise Conflict(
                "These datasets are too large to compare while you wait.",
                how="POST to this address, and ask again when its job has ended.",
            )
        note_rows_seen(self.by, first, second)
        return found

    @call(Scope.EXPORT, asks=NewComparisonSerializer, tells=ComparisonJobSerializer, status=201)
    def post(self, given: Given, key: str) -> Any:
        """Compare with an earlier dataset: a job. The same two are compared once; asking again tells where it stands."""
        return comparisons.start_comparison(first=given["to"], second=self.snapshot(key), by=self.by)
