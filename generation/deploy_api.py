"""What a worker beside a far vLLM asks of the app: which adapters to serve, their files, and to judge its canary.

The worker holds a token of scope ``deploy``; it sees deployments of that token's project on one endpoint, and files of versions
that were deployed there, and nothing else. The app decides; the worker only fetches, checks, loads and measures.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.http import HttpResponseBase
from rest_framework import serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Project, User
from accounts.tokens import HasScope, Scope, TokenAuthentication
from core import jobs
from core.downloads import download
from core.errors import DomainError
from core.storage import artifact_path, read_manifest
from generation.artifacts import ARTIFACT_KIND
from generation.canary import judge_canary
from generation.deploy import (
    LEASE_SECONDS,
    ON_THE_WAY,
    Lost,
    Stage,
    begin,
    canary_of,
    conclude,
    fail,
    loaded_on,
    to_checking,
)
from generation.endpoints import note_state
from generation.models import Deployment, Endpoint, ModelVersion


class WorkerView(APIView):
    """Token only: a browser's session has no business here, and no form may be forged for one."""

    authentication_classes: list[type[BaseAuthentication]] = [TokenAuthentication]
    permission_classes = [HasScope(Scope.DEPLOY)]

    @property
    def project(self) -> Project:
        project: Project = self.request._request.project  # type: ignore[attr-defined]
        return project

    def endpoint(self, key: str) -> Endpoint:
        """The endpoint of this key, or the only one with a worker when none is named."""
        rows = Endpoint.objects.filter(reach=Endpoint.Reach.WORKER, is_enabled=True)
        if key != "-":
            found = rows.filter(key=key).first()
        else:
            found = rows.first() if rows.count() == 1 else None
        if found is None:
            raise NotFound("There is no endpoint of this key that waits for a worker; name it with --endpoint.")
        return found

    def deployment(self, key: str) -> Deployment:
        rows = Deployment.objects.select_related("endpoint", "model_version", "project", "requested_by")
        found = rows.filter(key=key, project=self.project, endpoint__reach=Endpoint.Reach.WORKER).first()
        if found is None:
            raise NotFound("There is no such deployment.")
        return found


class Wanted(WorkerView):
    """What this endpoint must serve for the token's project, and what it need not any more."""

    def get(self, request: Request, endpoint: str) -> Response:
        row = self.endpoint(endpoint)
        mine = Deployment.objects.filter(
            project=self.project, endpoint=row, model_version__kind=ModelVersion.Kind.ADAPTER
        )
        wanted = [_adapter(deployment) for deployment in loaded_on(row).filter(project=self.project)]
        gone = mine.filter(stage__in=[Stage.RETIRED, Stage.FAILED]).values_list("served_name", flat=True)
        return Response(
            {
                "endpoint": {"key": row.key, "name": row.name, "base_served_name": row.base_served_name},
                "serve": wanted,
                "unload": list(gone.order_by("-id")[:200]),
            }
        )


class StateFields(serializers.Serializer[Any]):
    state = serializers.ChoiceField(choices=[Endpoint.State.STARTING, Endpoint.State.READY, Endpoint.State.DOWN])
    message = serializers.CharField(max_length=500, allow_blank=True, default="")
    version = serializers.CharField(max_length=60, allow_blank=True, default="")
    max_model_len = serializers.IntegerField(min_value=1, required=False, allow_null=True)


class State(WorkerView):
    """The worker's word on its vLLM."""

    def post(self, request: Request, endpoint: str) -> Response:
        row = self.endpoint(endpoint)
        fields = StateFields(data=request.data)
        fields.is_valid(raise_exception=True)
        said = fields.validated_data
        facts: dict[str, Any] = {"version": said["version"]} if said["version"] else {}
        if said.get("max_model_len"):
            facts["max_model_length"] = said["max_model_len"]
        if not self.may_tell_of(row):
            return Response({"state": row.state, "sentence": "Nothing of this project is deployed there."}, status=403)
        note_state(row, said["state"], said["message"], **facts)
        return Response({"state": row.state})

    def may_tell_of(self, endpoint: Endpoint) -> bool:
        """Endpoints belong to the site: only who deploys there, or runs the site, may say how one is."""
        by: User = self.request.user  # type: ignore[assignment]
        return by.is_superuser or Deployment.objects.filter(project=self.project, endpoint=endpoint).exists()


class Claim(WorkerView):
    """Take the oldest deployment that waits for this endpoint: its lease, its files and the canary's questions."""

    def post(self, request: Request, endpoint: str) -> Response:
        row = self.endpoint(endpoint)
        waiting = Deployment.objects.select_related("endpoint", "model_version", "project", "requested_by")
        for deployment in waiting.filter(
            project=self.project, endpoint=row, status=jobs.JobStatus.QUEUED, stage__in=[*ON_THE_WAY, Stage.FAILED]
        ).order_by("pk"):
            token = jobs.claim(deployment, seconds=LEASE_SECONDS)
            if token is None:
                continue
            try:
                begin(deployment, token)
                answer: dict[str, Any] = {"deployment": deployment.key, "lease": token, "lease_seconds": LEASE_SECONDS}
                if deployment.model_version.kind == ModelVersion.Kind.ADAPTER:
                    probes = canary_of(deployment.model_version).probes
                    answer["adapter"] = _adapter(deployment)
                    answer["probes"] = [[list(probe.context), probe.token] for probe in probes]
                return Response(answer)
            except Lost:
                continue
            except DomainError as problem:
                give_up(deployment, token, problem)
        return Response(status=204)


def give_up(deployment: Deployment, token: str, problem: DomainError) -> None:
    with suppress(Lost):  # somebody else has closed it meanwhile
        fail(deployment, token, problem.sentence)


class LeaseFields(serializers.Serializer[Any]):
    lease = serializers.CharField(max_length=64)
    message = serializers.CharField(max_length=300, allow_blank=True, default="")


class Beat(WorkerView):
    def post(self, request: Request, deployment: str) -> Response:
        fields = LeaseFields(data=request.data)
        fields.is_valid(raise_exception=True)
        row = self.deployment(deployment)
        beat = jobs.beat(
            row, fields.validated_data["lease"], seconds=LEASE_SECONDS, message=fields.validated_data["message"]
        )
        return Response({"alive": beat.alive, "cancel": beat.cancel})


class LoadedFields(LeaseFields):
    logprobs = serializers.ListField(child=serializers.FloatField(), max_length=1000)


class Loaded(WorkerView):
    """The adapter is loaded; these are the canary's answers. The app judges, and flips or refuses."""

    def post(self, request: Request, deployment: str) -> Response:
        fields = LoadedFields(data=request.data)
        fields.is_valid(raise_exception=True)
        row, token = self.deployment(deployment), fields.validated_data["lease"]
        try:
            to_checking(row, token)
            finding = None
            if row.model_version.kind == ModelVersion.Kind.ADAPTER:
                finding = judge_canary(canary_of(row.model_version), fields.validated_data["logprobs"])
            conclude(row, token, finding)
        except Lost:
            return Response(
                {"stage": "lost", "sentence": "Another worker has this deployment, or it was cancelled."}, status=409
            )
        except DomainError as problem:  # its canary cannot be read: no worker can do anything about that
            give_up(row, token, problem)
            return Response({"stage": Stage.FAILED, "sentence": problem.sentence})
        row.refresh_from_db()
        return Response({"stage": row.stage, "sentence": finding.sentence if finding else "It answers."})


class FailedFields(LeaseFields):
    sentence = serializers.CharField(max_length=500)
    again = serializers.BooleanField(default=False)


class Failed(WorkerView):
    """It could not be loaded. ``again`` gives it back to the queue: the server was down, not the adapter wrong."""

    def post(self, request: Request, deployment: str) -> Response:
        fields = FailedFields(data=request.data)
        fields.is_valid(raise_exception=True)
        row, said = self.deployment(deployment), fields.validated_data
        try:
            if said["again"]:
                jobs.release(row, said["lease"], note=said["sentence"])
            else:
                fail(row, said["lease"], said["sentence"])
        except Lost:
            return Response(status=409)
        return Response(status=204)


class ArtifactFile(WorkerView):
    """One file of a version that was deployed here, by hash; a Range continues a download that broke off."""

    def get(self, request: Request, sha256: str, name: str) -> HttpResponseBase:
        deployed = Deployment.objects.filter(
            project=self.project, model_version__artifact_sha256=sha256, endpoint__reach=Endpoint.Reach.WORKER
        )
        if not deployed.exists():
            raise NotFound("There is no such artifact.")
        entry = read_manifest(ARTIFACT_KIND, sha256).get(
            name
        )  # a name of the manifest, so never a way out of the directory
        if entry is None:
            raise NotFound("There is no such file.")
        path, digest = artifact_path(ARTIFACT_KIND, sha256) / name, str(entry["sha256"])
        return download(request._request, path, name=path.name, sha256=digest)


def _adapter(deployment: Deployment) -> dict[str, Any]:
    """What a worker needs to fetch and load one adapter: its name, its hash and the list of its files."""
    sha256 = deployment.model_version.artifact_sha256
    manifest = read_manifest(ARTIFACT_KIND, sha256)
    return {"served_name": deployment.served_name, "sha256": sha256, "manifest": manifest}


__all__ = ["ArtifactFile", "Beat", "Claim", "Failed", "Loaded", "State", "Wanted"]
