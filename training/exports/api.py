"""The API of exports: start one, follow it, fetch its file, under an address that stays.

What ``load_dataset`` and ``read_parquet`` are given, with a token in a header. HEAD answers with the size, a Range with 206.
"""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import NotFound

from accounts.api.base import JOB_FIELDS, Given, ProjectApi, call, key_of
from accounts.tokens import Scope
from core.api import StrictSerializer
from core.downloads import TYPES
from training.dataset_views import send_file
from training.exports import job as exports
from training.exports.containers import CONTAINERS
from training.exports.formats import FORMATS
from training.exports.options import Options
from training.exports.views import send
from training.models import ExportJob, Snapshot

MEDIA_TYPES = (*sorted(set(TYPES.values())), "application/octet-stream")


class ExportSerializer(serializers.ModelSerializer[ExportJob]):
    snapshot = key_of()
    file_url = serializers.SerializerMethodField(help_text="where the file is, for this token")
    erased_at = serializers.DateTimeField(
        source="snapshot.erased_at",
        read_only=True,
        allow_null=True,
        help_text="when text in the dataset was erased last: its rows say so in its place",
    )

    class Meta:
        model = ExportJob
        fields = (
            "key", "snapshot", "file_format", "container", "options", *JOB_FIELDS, "filename", "n_rows", "n_bytes", "sha256",
            "expires_at", "removed_at", "erased_at", "file_url",
        )  # fmt: skip

    @extend_schema_field(serializers.URLField())
    def get_file_url(self, job: ExportJob) -> str:
        address = f"/api/v1/projects/{job.project.slug}/exports/{job.key}/files/{job.filename}"
        return str(self.context["request"].build_absolute_uri(address))


class ExportOptionsSerializer(StrictSerializer):
    split = serializers.ChoiceField(choices=["train", "test"], default="train")
    details = serializers.BooleanField(default=False, help_text="the further columns of the format")
    models = serializers.BooleanField(default=False, help_text="name the models that wrote the answers")
    people = serializers.BooleanField(default=False, help_text="name the annotators by their pseudonyms")


class NewExportSerializer(StrictSerializer):
    file_format = serializers.ChoiceField(choices=[each.name for each in FORMATS])
    container = serializers.ChoiceField(choices=[*CONTAINERS, "zip"])
    options = ExportOptionsSerializer(default=dict)


class FormatSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # a field of ours, not the argument of the same name
    reads = serializers.CharField(help_text="who reads it")
    containers = serializers.ListField(child=serializers.CharField())
    cannot = serializers.ListField(child=serializers.CharField(), help_text="what it cannot carry")


class FormatsSerializer(serializers.Serializer[Any]):
    formats = FormatSerializer(many=True)


class _Exports(ProjectApi):
    @property
    def rows(self) -> Any:
        return ExportJob.objects.filter(project=self.project).select_related("project", "snapshot", "requested_by")

    def snapshot(self, key: str) -> Snapshot:
        found: Snapshot = self.found(Snapshot.objects.filter(project=self.project).select_related("project"), key=key)
        return found


class Formats(_Exports):
    @call(Scope.EXPORT, tells=FormatsSerializer)
    def get(self, given: Given) -> Any:
        """The formats that a dataset can be written in, and what each cannot carry."""
        return {"formats": FORMATS}


class Exports(_Exports):
    @call(Scope.EXPORT, lists=ExportSerializer)
    def get(self, given: Given, key: str) -> Any:
        """What was exported of a dataset and can be had or is on its way, newest first."""
        return self.rows.filter(pk__in=exports.exports_of(self.snapshot(key)).order_by().values("pk"))

    @call(Scope.EXPORT, asks=NewExportSerializer, tells=ExportSerializer, status=201)
    def post(self, given: Given, key: str) -> Any:
        """Write a dataset in a format: a job. The same dataset, format and options are one file."""
        return exports.start_export(
            snapshot=self.snapshot(key),
            file_format=given["file_format"],
            container=given["container"],
            options=Options(**given["options"]).model_dump(),
            by=self.by,
        )


class OneExport(_Exports):
    @call(Scope.EXPORT, tells=ExportSerializer)
    def get(self, given: Given, key: str) -> Any:
        """Where an export stands."""
        return self.found(self.rows, key=key)


class CancelExport(_Exports):
    @call(Scope.EXPORT, tells=ExportSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Stop an export."""
        job = self.found(self.rows, key=key)
        exports.cancel_export(job, by=self.by)
        return self.fresh(job)


class ExportFile(_Exports):
    @call(Scope.EXPORT, media_types=MEDIA_TYPES)
    def get(self, given: Given, key: str, name: str) -> Any:
        """The file of an export."""
        job = self.found(self.rows, key=key)
        if job.filename != name:
            raise NotFound("There is no such export.")
        return send(self.request._request, job)


class DatasetFile(_Exports):
    @call(Scope.EXPORT, media_types=MEDIA_TYPES)
    def get(self, given: Given, key: str, name: str) -> Any:
        """A file of the frozen dataset itself: train.jsonl, test.parquet ..."""
        return send_file(self.request._request, self.snapshot(key), name)
