"""The API of a frozen dataset and time: what became of its judgements, the same recipe again, another dataset beside it."""

from dataclasses import asdict
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.api.base import Given, InProject, ProjectApi, call
from accounts.tokens import Scope
from training import freezing
from training.api.snapshots import READERS, SnapshotSerializer
from training.comparing import Comparison, compare
from training.models import Snapshot
from training.since import WORDS, excluded_since


class SinceSerializer(serializers.Serializer[Any]):
    n = serializers.IntegerField(help_text="judgements that would stay out if it were frozen now")
    why = serializers.DictField(child=serializers.IntegerField(), help_text=", ".join(WORDS))


class CompareFilterSerializer(serializers.Serializer[Any]):
    to = InProject(lambda project: project.snapshots.all(), help_text="the earlier dataset")


class ComparisonSerializer(serializers.Serializer[Comparison]):
    """How the dataset differs from the earlier one; of the rows the first of each kind."""

    counts = serializers.SerializerMethodField(help_text="rows: in, out, changed, same")
    reasons = serializers.SerializerMethodField(help_text="in, out or changed; why; how many")
    left = serializers.DictField(
        child=serializers.IntegerField(),
        help_text="judgements of the earlier one that this one has not, by what became of them",
    )
    n_joined = serializers.IntegerField(help_text="judgements that only this one has")
    shown = serializers.SerializerMethodField(help_text="rows before and after")

    @extend_schema_field(serializers.DictField(child=serializers.IntegerField()))
    def get_counts(self, found: Comparison) -> dict[str, int]:
        return {what: found.counts[what] for what in ("in", "out", "changed", "same")}

    @extend_schema_field(serializers.ListField(child=serializers.JSONField()))
    def get_reasons(self, found: Comparison) -> list[dict[str, Any]]:
        return [{"what": what, "why": words, "n": n} for what, words, n in found.reasons]

    @extend_schema_field(serializers.DictField(child=serializers.ListField(child=serializers.JSONField())))
    def get_shown(self, found: Comparison) -> dict[str, list[dict[str, Any]]]:
        return {what: [asdict(each) for each in shown] for what, shown in found.shown.items()}


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
        """What differs from an earlier dataset, and why."""
        return compare(given["to"], self.snapshot(key))
