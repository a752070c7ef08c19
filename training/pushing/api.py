"""The API of pushes: which places there are, start a push, follow it, cancel it, go on with it."""

from typing import Any

from rest_framework import serializers

from accounts.api.base import JOB_FIELDS, Given, InProject, ProjectApi, call, key_of
from accounts.tokens import Scope
from core.api import StrictSerializer
from training.models import ExportJob, PushJob, Snapshot
from training.pushing import job as pushes
from training.pushing.places import destinations


class PushSerializer(serializers.ModelSerializer[PushJob]):
    snapshot, export = key_of(), key_of(allow_null=True)

    class Meta:
        model = PushJob
        fields = (
            "key", "snapshot", "export", "destination", "target", "address", "is_public", "with_votes", *JOB_FIELDS, "n_files",
            "n_bytes", "revision",
        )  # fmt: skip


class NewPushSerializer(StrictSerializer):
    to = serializers.ChoiceField(choices=PushJob.Destination.choices)
    target = serializers.CharField(max_length=200, help_text="owner/name on a hub, a folder on S3")
    export = InProject(
        lambda project: ExportJob.objects.filter(project=project),
        required=False, help_text="an export of the dataset; without: the dataset itself",
    )  # fmt: skip
    is_public = serializers.BooleanField(default=False, help_text="a repository that is made for it is public")
    with_votes = serializers.BooleanField(
        default=False, help_text="with the records, the lineage and the rows as JSON Lines"
    )


class DestinationSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # a field of ours, not the argument of the same name
    target = serializers.CharField(help_text="what a target is there")
    is_offered = serializers.BooleanField()
    to_set = serializers.ListField(child=serializers.CharField(), help_text="settings that are missing")


class DestinationsSerializer(serializers.Serializer[Any]):
    destinations = DestinationSerializer(many=True)


class _Pushes(ProjectApi):
    @property
    def rows(self) -> Any:
        return PushJob.objects.filter(project=self.project).select_related("project", "snapshot", "export")

    def push(self, key: str) -> PushJob:
        found: PushJob = self.found(self.rows, key=key)
        return found

    def snapshot(self, key: str) -> Snapshot:
        found: Snapshot = self.found(Snapshot.objects.filter(project=self.project).select_related("project"), key=key)
        return found


class Destinations(_Pushes):
    @call(Scope.EXPORT, tells=DestinationsSerializer)
    def get(self, given: Given) -> Any:
        """The places that datasets may be pushed to, and which settings are missing for the others."""
        return {"destinations": destinations()}


class Pushes(_Pushes):
    @call(Scope.EXPORT, lists=PushSerializer)
    def get(self, given: Given, key: str) -> Any:
        """The pushes of a dataset, newest first."""
        return self.rows.filter(snapshot=self.snapshot(key))

    @call(Scope.EXPORT, asks=NewPushSerializer, tells=PushSerializer, status=201, once=True)
    def post(self, given: Given, key: str) -> Any:
        """Push a dataset, or an export of it: a job."""
        return pushes.start_push(snapshot=self.snapshot(key), by=self.by, **given)


class OnePush(_Pushes):
    @call(Scope.EXPORT, tells=PushSerializer)
    def get(self, given: Given, key: str) -> Any:
        """Where a push stands."""
        return self.push(key)


class CancelPush(_Pushes):
    @call(Scope.EXPORT, tells=PushSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Stop a push."""
        push = self.push(key)
        pushes.cancel_push(push, by=self.by)
        return self.push(key)


class RetryPush(_Pushes):
    @call(Scope.EXPORT, tells=PushSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Go on with a push that failed or was cancelled."""
        push = self.push(key)
        pushes.push_again(push, by=self.by)
        return self.push(key)
