"""The API of prompts: sets, their prompts, and imports with their reports."""

from typing import Any

from django.http import FileResponse
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.response import Response

from accounts.api.base import JOB_FIELDS, Given, InProject, ProjectApi, call, key_of
from accounts.tokens import Scope
from core.api import StrictSerializer
from core.errors import require
from core.uploads import MAX_LINES, sent
from generation import prompts as services
from generation.models import Prompt, PromptImport, PromptSet
from generation.prompt_views import searched
from generation.sampling import with_tags


class PromptSetSerializer(serializers.ModelSerializer[PromptSet]):
    class Meta:
        model = PromptSet
        fields = ("key", "name", "source", "licence", "is_holdout_only", "n_prompts", "created_at")


class PromptSets(ProjectApi):
    @call(Scope.READ, lists=PromptSetSerializer)
    def get(self, given: Given) -> Any:
        """Prompt sets, newest first."""
        return self.project.prompt_sets.all()


class OnePromptSet(ProjectApi):
    @call(Scope.READ, tells=PromptSetSerializer)
    def get(self, given: Given, key: str) -> Any:
        """One prompt set."""
        return self.found(self.project.prompt_sets.all(), key=key)

    @call(Scope.GENERATE)
    def delete(self, given: Given, key: str) -> None:
        """Delete a set that nothing uses, with its prompts."""
        services.delete_set(self.found(self.project.prompt_sets.all(), key=key), by=self.by)


class PromptSerializer(serializers.ModelSerializer[Prompt]):
    class Meta:
        model = Prompt
        fields = (
            "key", "number", "messages", "following_turns", "split", "tags", "note", "reference", "metadata", "content_sha256",
            "group_sha256",
        )  # fmt: skip


class PromptFilterSerializer(serializers.Serializer[Any]):
    q = serializers.CharField(required=False, max_length=200, help_text="words in a message")
    tag = serializers.CharField(required=False, max_length=200)
    split = serializers.ChoiceField(required=False, choices=Prompt.Split.choices)


class Prompts(ProjectApi):
    @call(Scope.READ, query=PromptFilterSerializer, lists=PromptSerializer)
    def get(self, given: Given, key: str) -> Any:
        """The prompts of a set, in the order of their import."""
        found = self.found(self.project.prompt_sets.all(), key=key)
        rows = with_tags(Prompt.objects.filter(set=found).ready(), [given["tag"]] if "tag" in given else [])
        rows = searched(rows, given["q"]) if "q" in given else rows
        rows = rows.filter(split=given["split"]) if "split" in given else rows
        return self.page(PromptSerializer, rows, is_newest_first=False)


class OnePrompt(ProjectApi):
    @call(Scope.READ, tells=PromptSerializer)
    def get(self, given: Given, key: str, prompt: str) -> Any:
        """One prompt."""
        found = self.found(self.project.prompt_sets.all(), key=key)
        return self.found(Prompt.objects.filter(set=found).ready(), key=prompt)


# ---- imports -----------------------------------------------------------------------------------------------------------


class PromptImportSerializer(serializers.ModelSerializer[PromptImport]):
    prompt_set = key_of(source="set")

    class Meta:
        model = PromptImport
        fields = (
            "key", "prompt_set", *JOB_FIELDS, "filename", "file_format", "sha256", "skip_bad_rows", "n_rows", "n_added",
            "n_duplicates", "n_bad", "bad_rows", "notes",
        )  # fmt: skip


class NewPromptImportSerializer(StrictSerializer):
    """A file (multipart), or lines (JSON); into a new set of this name, or into one that is there."""

    file = serializers.FileField(required=False, help_text="JSONL, CSV, Parquet or text with one prompt a line")
    lines = serializers.ListField(
        child=serializers.JSONField(),
        required=False,
        max_length=MAX_LINES,
        allow_empty=False,
        help_text="objects as in JSONL",
    )
    prompt_set = InProject(
        lambda project: project.prompt_sets.all(), required=False, help_text="key of an existing set"
    )
    name = serializers.CharField(required=False, max_length=100, help_text="of a new set")
    source = serializers.CharField(  # type: ignore[assignment]  # a field of ours, not the argument of the same name
        default="", allow_blank=True, max_length=200
    )
    licence = serializers.CharField(default="", allow_blank=True, max_length=100)
    is_holdout_only = serializers.BooleanField(default=False)
    skip_bad_rows = serializers.BooleanField(default=False)
    allow_secrets = serializers.BooleanField(
        default=False, help_text="rows that hold what looks like a key or a card number come in too; of an admin alone"
    )


class RetrySerializer(StrictSerializer):
    skip_bad_rows = serializers.BooleanField(default=False)


class _Imports(ProjectApi):
    @property
    def rows(self) -> Any:
        return PromptImport.objects.filter(set__project=self.project).select_related("set__project")


class PromptImports(_Imports):
    @call(Scope.GENERATE, Scope.READ, lists=PromptImportSerializer)
    def get(self, given: Given) -> Any:
        """Imports of prompts, newest first."""
        return self.rows

    @call(Scope.GENERATE, asks=NewPromptImportSerializer, tells=PromptImportSerializer, status=201, once_by_key=True)
    def post(self, given: Given) -> Any:
        """Import prompts: a job; follow it at its own address. 200 where this request has been here before."""
        file, lines, into = given.get("file"), given.get("lines"), given.get("prompt_set")
        upload = sent(file, lines)
        require((into is None) != ("name" not in given), "Name either a new set or an existing one.")
        key = self.key_of_request()
        is_there = bool(key) and self.rows.filter(key=key).exists()
        job = services.start_import(
            project=self.project,
            upload=upload,
            filename=(file.name or "") if file else "lines.jsonl",
            prompt_set=into,
            name=given.get("name", ""),
            **{
                name: given[name] for name in ("source", "licence", "is_holdout_only", "skip_bad_rows", "allow_secrets")
            },
            by=self.by,
            key=key,
        )
        return Response(self.tell(PromptImportSerializer, job), status=200 if is_there else 201)


class OnePromptImport(_Imports):
    @call(Scope.GENERATE, Scope.READ, tells=PromptImportSerializer)
    def get(self, given: Given, key: str) -> Any:
        """Where an import stands, what it counted, its first bad rows."""
        return self.found(self.rows, key=key)


class CancelPromptImport(_Imports):
    @call(Scope.GENERATE, tells=PromptImportSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Ask an import to stop; nothing of it is kept."""
        job = self.found(self.rows, key=key)
        services.cancel_import(job, by=self.by)
        return self.fresh(job)


class RetryPromptImport(_Imports):
    @call(Scope.GENERATE, asks=RetrySerializer, tells=PromptImportSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Try a failed or cancelled import again, without the rows that cannot be used if so asked."""
        job = self.found(self.rows, key=key)
        services.retry_import(job, skip_bad_rows=given["skip_bad_rows"], by=self.by)
        return self.fresh(job)


class PromptImportReport(_Imports):
    @call(Scope.GENERATE, Scope.READ, media_types=("text/csv",))
    def get(self, given: Given, key: str) -> Any:
        """Every bad row with its line and its reason, as CSV."""
        path = services.report_path(self.found(self.rows, key=key))
        if not path.exists():
            raise NotFound("This import has no report.")
        return FileResponse(
            path.open("rb"), as_attachment=True, filename=path.name, content_type="text/csv; charset=utf-8"
        )
