"""The API of imports of votes: start one, follow it, read its report, stop it, repeat it. A token needs the scope ``import``."""

import json
from typing import Any

from django.urls import reverse
from rest_framework import serializers
from rest_framework.fields import empty
from rest_framework.response import Response

from accounts.api.base import Given, ProjectApi, call
from accounts.tokens import Scope
from annotation.models import VoteImport
from annotation.votes import job as services
from annotation.votes.choices import MAX_GUIDELINES, MAX_OPEN_FOR
from annotation.votes.views import report_response
from core.api import StrictSerializer
from core.uploads import MAX_LINES, sent
from generation.api.prompts import RetrySerializer

SHOWN_BAD_ROWS = 100


class VoteImportSerializer(serializers.Serializer[VoteImport]):
    """An import as the API tells it."""

    key = serializers.CharField()
    name = serializers.CharField()
    status = serializers.CharField()
    format = serializers.CharField(source="file_format")
    mapping = serializers.JSONField()
    sha256 = serializers.CharField(allow_blank=True)
    step = serializers.IntegerField()
    total_steps = serializers.IntegerField(allow_null=True)
    message = serializers.CharField(allow_blank=True)
    error = serializers.CharField(allow_blank=True)
    n_rows = serializers.IntegerField()
    n_bad = serializers.IntegerField()
    bad_rows = serializers.SerializerMethodField(help_text="the first hundred; a list of imports leaves them out")
    counts = serializers.JSONField()
    notes = serializers.JSONField()
    campaign = serializers.SerializerMethodField()
    prompt_set = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    url = serializers.SerializerMethodField()
    report_url = serializers.SerializerMethodField()

    def get_bad_rows(self, job: VoteImport) -> list[dict[str, Any]]:
        return [] if isinstance(self.parent, serializers.ListSerializer) else job.bad_rows[:SHOWN_BAD_ROWS]

    def get_campaign(self, job: VoteImport) -> str | None:
        return job.campaign.key if job.campaign and job.status == "succeeded" else None

    def get_prompt_set(self, job: VoteImport) -> str | None:
        return job.prompt_set.key if job.prompt_set and job.status == "succeeded" else None

    def get_url(self, job: VoteImport) -> str:
        return reverse("annotation-api:vote-import", args=[job.project.slug, job.key])

    def get_report_url(self, job: VoteImport) -> str:
        return f"{self.get_url(job)}/report"


class MappingField(serializers.DictField):
    """An object; beside a file, in a form, its JSON as text."""

    def get_value(self, dictionary: Any) -> Any:
        return dictionary.get(self.field_name) or empty

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, str):
            try:
                data = json.loads(data)
            except (ValueError, RecursionError):
                self.fail("not_a_dict", input_type="text")
        return super().to_internal_value(data)


class NewVoteImportSerializer(StrictSerializer):
    """What a request brings: a file, or (for a few) the lines themselves as JSON."""

    name = serializers.CharField(max_length=100)
    file = serializers.FileField(required=False)
    lines = serializers.ListField(
        child=serializers.DictField(), required=False, max_length=MAX_LINES, allow_empty=False
    )  # fmt: skip
    source = serializers.CharField(  # type: ignore[assignment]  # a field of ours, not the argument of the same name
        max_length=60, allow_blank=True, default=""
    )
    question = serializers.CharField(max_length=300, default="Which answer is better?")
    guidelines = serializers.CharField(max_length=MAX_GUIDELINES, allow_blank=True, default="")
    licence = serializers.CharField(max_length=100, allow_blank=True, default="")
    is_holdout_only = serializers.BooleanField(default=False)
    allow_secrets = serializers.BooleanField(default=False)
    open_for = serializers.IntegerField(min_value=0, max_value=MAX_OPEN_FOR, default=0)
    mapping = MappingField(
        child=serializers.JSONField(), default=dict, help_text="role -> column, for a table that no format knows"
    )
    skip_bad_rows = serializers.BooleanField(default=False)
    is_draft = serializers.BooleanField(default=False)


class BeginSerializer(StrictSerializer):
    mapping = MappingField(
        child=serializers.JSONField(),
        default=dict,
        help_text="role -> column, where the draft's own does not say which column is what",
    )


class _VoteImports(ProjectApi):
    @property
    def rows(self) -> Any:
        return VoteImport.objects.filter(project=self.project).select_related("project", "campaign", "prompt_set")


class Imports(_VoteImports):
    @call(Scope.IMPORT, lists=VoteImportSerializer)
    def get(self, given: Given) -> Any:
        """Imports of votes, newest first."""
        return self.rows

    @call(Scope.IMPORT, asks=NewVoteImportSerializer, tells=VoteImportSerializer, status=201, once_by_key=True)
    def post(self, given: Given) -> Any:
        """Import votes of people from elsewhere: a job. 200 where this request or this file has been here before."""
        file, lines = given.get("file"), given.get("lines")
        before = self.project.vote_imports.order_by("-pk").values_list("pk", flat=True).first() or 0
        job = services.start_import(
            project=self.project,
            upload=sent(file, lines),
            filename=(file.name or "") if file else "",
            name=given["name"],
            source=given["source"],
            choices={
                name: given[name]
                for name in ("question", "guidelines", "licence", "is_holdout_only", "open_for", "allow_secrets")
            },
            mapping=given["mapping"],
            skip_bad_rows=given["skip_bad_rows"],
            is_draft=given["is_draft"],
            by=self.by,
            key=self.key_of_request(),
        )  # fmt: skip
        return Response(self.tell(VoteImportSerializer, job), status=201 if job.pk > before else 200)


class Import(_VoteImports):
    @call(Scope.IMPORT, tells=VoteImportSerializer)
    def get(self, given: Given, key: str) -> Any:
        """Where an import stands, what it has counted, its first bad rows."""
        return self.found(self.rows, key=key)


class Report(_VoteImports):
    @call(Scope.IMPORT, media_types=("text/csv",))
    def get(self, given: Given, key: str) -> Any:
        """Every bad row with its line and its reason, as CSV."""
        job = self.found(self.rows, key=key)
        return report_response(job)


class Begin(_VoteImports):
    @call(Scope.IMPORT, asks=BeginSerializer, tells=VoteImportSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Start a draft, with a mapping of its columns where it needs one."""
        job = self.found(self.rows, key=key)
        services.begin_import(job, mapping=given["mapping"], by=self.by)
        return self.fresh(job)


class Cancel(_VoteImports):
    @call(Scope.IMPORT, tells=VoteImportSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Ask an import to stop; nothing of it is kept."""
        job = self.found(self.rows, key=key)
        services.cancel_import(job, by=self.by)
        return self.fresh(job)


class Retry(_VoteImports):
    @call(Scope.IMPORT, asks=RetrySerializer, tells=VoteImportSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Try a failed or cancelled import again, without the rows that cannot be used if so asked."""
        job = self.found(self.rows, key=key)
        services.retry_import(job, skip_bad_rows=given["skip_bad_rows"], by=self.by)
        return self.fresh(job)
