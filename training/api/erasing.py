"""The API of erased text: erase it, follow its erasure, and waive what it blocks. For admins."""

from typing import Any

from rest_framework import serializers

from accounts.api.base import JOB_FIELDS, Given, ProjectApi, call, key_of
from accounts.tokens import Scope
from annotation.models import Judgement
from core.api import StrictSerializer
from training.api.snapshots import SnapshotSerializer
from training.erasing import WHATS, erase_again, erase_text, waive
from training.models import Erasure

MAX_NOTE = 2000


class ErasureSerializer(serializers.ModelSerializer[Erasure]):
    judgement = serializers.CharField(source="judgement_key")
    datasets = key_of(source="snapshots", many=True, help_text="whose files are replaced")

    class Meta:
        model = Erasure
        fields = ("key", "what", "judgement", "note", "quotes", *JOB_FIELDS, "datasets")


class EraseSerializer(StrictSerializer):
    what = serializers.ChoiceField(
        choices=list(WHATS), help_text="exchange: the prompt with its answers; write_in: the better answer"
    )
    note = serializers.CharField(max_length=MAX_NOTE, help_text="why; the record keeps the reason, and not the text")


class WaiveSerializer(StrictSerializer):
    note = serializers.CharField(max_length=MAX_NOTE, help_text="why it may be trained on all the same")


class _Erasures(ProjectApi):
    @property
    def rows(self) -> Any:
        return Erasure.objects.filter(project=self.project).prefetch_related("snapshots")


class Erasures(_Erasures):
    @call(Scope.ERASE, lists=ErasureSerializer)
    def get(self, given: Given) -> Any:
        """Erasures, newest first."""
        return self.rows


class OneErasure(_Erasures):
    @call(Scope.ERASE, tells=ErasureSerializer)
    def get(self, given: Given, key: str) -> Any:
        """One erasure: a job that replaces the files of the datasets that held the text."""
        return self.found(self.rows, key=key)


class RetryErasure(_Erasures):
    @call(Scope.ERASE, tells=ErasureSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Try an erasure again that failed."""
        erase_again(self.found(self.rows, key=key), by=self.by)
        return self.found(self.rows, key=key)


class EraseText(ProjectApi):
    @call(Scope.ERASE, asks=EraseSerializer, tells=ErasureSerializer, status=201)
    def post(self, given: Given, key: str) -> Any:
        """Erase the prompt of a judgement's task, alone or with its answers, its better answer or its comment, everywhere."""
        rows = Judgement.objects.select_related("assignment__task__campaign__project", "assignment__task__prompt")
        judgement = self.found(rows.filter(assignment__task__campaign__project=self.project), key=key)
        return erase_text(judgement=judgement, by=self.by, **given)


class WaiveErasure(ProjectApi):
    @call(Scope.ERASE, asks=WaiveSerializer, tells=SnapshotSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Let new runs learn from a dataset whose text was erased in part."""
        rows = self.project.snapshots.prefetch_related("campaigns").select_related("project")
        waive(self.found(rows, key=key), note=given["note"], by=self.by)
        return self.found(rows, key=key)
