"""The API of imports of votes: start one, follow it, read its report, stop it, repeat it. A token needs the scope ``import``."""

import hashlib
import io
import json
from typing import Any

from django.conf import settings
from django.http import FileResponse
from django.urls import reverse
from rest_framework import serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.access import person
from accounts.models import Project
from accounts.tokens import HasScope, Scope, TokenAuthentication
from annotation.models import VoteImport
from annotation.votes import job as services
from annotation.votes.choices import MAX_GUIDELINES, MAX_OPEN_FOR
from annotation.votes.views import report_response
from core.bulk import keys_from
from core.errors import require
from core.ids import KEY_LENGTH

MAX_LINES = 10_000
LISTED = 100
SHOWN_BAD_ROWS = 100


class ImportView(APIView):
    """Token only: a browser's session has its pages."""

    authentication_classes: list[type[BaseAuthentication]] = [TokenAuthentication]
    permission_classes = [HasScope(Scope.IMPORT)]

    @property
    def project(self) -> Project:
        project: Project = self.request._request.project  # type: ignore[attr-defined]
        return project

    def found(self, key: str) -> VoteImport:
        rows = VoteImport.objects.select_related("project", "campaign", "prompt_set")
        found = rows.filter(project=self.project, key=key).first()
        if found is None:
            raise NotFound("There is no such import.")
        return found


class ImportFields(serializers.Serializer[Any]):
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
    open_for = serializers.IntegerField(min_value=0, max_value=MAX_OPEN_FOR, default=0)
    mapping = serializers.JSONField(required=False, default=dict)
    skip_bad_rows = serializers.BooleanField(default=False)
    is_draft = serializers.BooleanField(default=False)


class Imports(ImportView):
    """GET lists the latest imports; POST starts one: 201, or 200 where this request or this file has been here before."""

    def get(self, request: Request, project: str) -> Response:
        rows = self.project.vote_imports.select_related("project", "campaign", "prompt_set").order_by("-pk")[:LISTED]
        return Response({"results": [told(job, n_bad_rows=0) for job in rows]})

    def post(self, request: Request, project: str) -> Response:
        fields = ImportFields(data=request.data)
        fields.is_valid(raise_exception=True)
        data = fields.validated_data
        file, lines = data.get("file"), data.get("lines")
        require((file is None) != (lines is None), "Send either a file or lines.")
        most = settings.WHETSTONE.upload_max_mib
        require(file is None or file.size <= most << 20, f"The file is larger than {most} MiB.", how="Split it.")
        before = self.project.vote_imports.order_by("-pk").values_list("pk", flat=True).first() or 0
        job = services.start_import(
            project=self.project,
            upload=file or io.BytesIO("".join(json.dumps(line) + "\n" for line in lines).encode()),
            filename=(file.name or "") if file else "",
            name=data["name"],
            source=data["source"],
            choices={
                name: data[name] for name in ("question", "guidelines", "licence", "is_holdout_only", "open_for")
            },
            mapping=data["mapping"],
            skip_bad_rows=data["skip_bad_rows"],
            is_draft=data["is_draft"],
            by=person(request._request),
            key=self._key(request),
        )  # fmt: skip
        return Response(told(job), status=201 if job.pk > before else 200)

    def _key(self, request: Request) -> str:
        """The key of the import that a request with an ``Idempotency-Key`` makes, however often it is sent."""
        given = request.headers.get("Idempotency-Key", "")
        if not given:
            return ""
        seed = f"{self.project.pk}:{person(request._request).pk}:{given}"
        return keys_from(hashlib.sha256(seed.encode()).digest()[:KEY_LENGTH])[0]


class Import(ImportView):
    """Where an import stands, what it has counted, its first bad rows."""

    def get(self, request: Request, project: str, key: str) -> Response:
        return Response(told(self.found(key)))


class Report(ImportView):
    """Every bad row with its line and its reason, as CSV."""

    def get(self, request: Request, project: str, key: str) -> FileResponse:
        job = self.found(key)
        if not services.report_path(job).exists():
            raise NotFound("This import has no report yet.")
        return report_response(job)


class Begin(ImportView):
    """Start a draft."""

    def post(self, request: Request, project: str, key: str) -> Response:
        job = self.found(key)
        services.begin_import(job, by=person(request._request))
        return _now(job)


class Cancel(ImportView):
    def post(self, request: Request, project: str, key: str) -> Response:
        job = self.found(key)
        services.cancel_import(job, by=person(request._request))
        return _now(job)


class RetryFields(serializers.Serializer[Any]):
    skip_bad_rows = serializers.BooleanField(default=False)


class Retry(ImportView):
    """Try a failed or cancelled import again, without the rows that cannot be used if so asked."""

    def post(self, request: Request, project: str, key: str) -> Response:
        fields = RetryFields(data=request.data)
        fields.is_valid(raise_exception=True)
        job = self.found(key)
        services.retry_import(
            job, skip_bad_rows=fields.validated_data["skip_bad_rows"], by=person(request._request)
        )  # fmt: skip
        return _now(job)


def _now(job: VoteImport) -> Response:
    job.refresh_from_db()
    return Response(told(job))


def told(job: VoteImport, *, n_bad_rows: int = SHOWN_BAD_ROWS) -> dict[str, Any]:
    """An import as the API tells it."""
    here = reverse("annotation-api:vote-import", args=[job.project.slug, job.key])
    return {
        "key": job.key,
        "name": job.name,
        "status": job.status,
        "format": job.file_format,
        "mapping": job.mapping,
        "sha256": job.sha256,
        "step": job.step,
        "total_steps": job.total_steps,
        "message": job.message,
        "error": job.error,
        "n_rows": job.n_rows,
        "n_bad": job.n_bad,
        "bad_rows": job.bad_rows[:n_bad_rows],
        "counts": job.counts,
        "notes": job.notes,
        "campaign": job.campaign.key if job.campaign and job.status == "succeeded" else None,
        "prompt_set": job.prompt_set.key if job.prompt_set and job.status == "succeeded" else None,
        "created_at": job.created_at,
        "finished_at": job.finished_at,
        "url": here,
        "report_url": f"{here}/report",
    }
