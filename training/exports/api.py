"""Files over the API, under addresses that stay: what ``load_dataset`` and ``read_parquet`` are given, with a token in a header."""

from typing import Any

from django.http import HttpResponseBase
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.models import Project
from accounts.tokens import HasScope, Scope, TokenAuthentication
from training.dataset_views import send_file
from training.exports.views import send
from training.models import ExportJob, Snapshot


class FileView(APIView):
    """Token only: a browser's session has its pages. GET answers a Range with 206, HEAD with the size."""

    authentication_classes: list[type[BaseAuthentication]] = [TokenAuthentication]
    permission_classes = [HasScope(Scope.EXPORT)]

    @property
    def project(self) -> Project:
        project: Project = self.request._request.project  # type: ignore[attr-defined]
        return project


class ExportFile(FileView):
    def get(self, request: Request, project: str, key: str, name: str) -> HttpResponseBase:
        job = ExportJob.objects.select_related("project", "snapshot").filter(project=self.project, key=key).first()
        if job is None or job.filename != name:
            raise NotFound("There is no such export.")
        return _sent(request, send, job)


class DatasetFile(FileView):
    """A file of the frozen dataset itself: train.jsonl, test.parquet ..."""

    def get(self, request: Request, project: str, key: str, name: str) -> HttpResponseBase:
        snapshot = Snapshot.objects.select_related("project").filter(project=self.project, key=key).first()
        if snapshot is None:
            raise NotFound("There is no such dataset.")
        return _sent(request, send_file, snapshot, name)


def _sent(request: Request, serve: Any, *args: Any) -> HttpResponseBase:
    plain = request._request
    plain.user = request.user  # whom the token stands for; the audit log names them
    answer: HttpResponseBase = serve(plain, *args)
    return answer
