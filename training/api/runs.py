"""The API of training runs and evaluations."""

import math
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.api.base import JOB_FIELDS, Given, InProject, ProjectApi, call, key_of
from accounts.tokens import Scope
from annotation.models import Campaign
from core.api import StrictSerializer
from core.jobs import JobStatus
from generation.models import ModelVersion
from training import evaluate
from training.curves import points_of, thinned
from training.evaluation_views import in_words
from training.models import Evaluation, TrainingRun
from training.run_start import cancel_run, plan_run, resume_run, start_run
from training.specs import EFFORTS, METHODS

READERS = (Scope.READ, Scope.TRAIN)


def _models(project: Any) -> Any:
    return project.model_versions.all()


class RunSerializer(serializers.ModelSerializer[TrainingRun]):
    base = key_of()
    snapshot = key_of()
    reward_model = key_of(allow_null=True)
    produced = key_of(allow_null=True)

    class Meta:
        model = TrainingRun
        fields = (
            "key", "name", "method", "effort", "base", "snapshot", "reward_model", "produced", *JOB_FIELDS, "seed", "spec",
            "spec_sha256", "last_checkpoint", "n_resumes", "versions", "command", "samples", "log_tail",
        )  # fmt: skip


class RunFilterSerializer(serializers.Serializer[Any]):
    method = serializers.ChoiceField(required=False, choices=list(METHODS))
    status = serializers.ChoiceField(required=False, choices=JobStatus.choices)


class RunPlanSerializer(StrictSerializer):
    method = serializers.ChoiceField(choices=list(METHODS))
    base = InProject(_models)
    snapshot = InProject(lambda project: project.snapshots.all())
    effort = serializers.ChoiceField(choices=list(EFFORTS), default="small")
    overrides = serializers.DictField(
        child=serializers.JSONField(allow_null=True),
        default=dict,
        help_text="settings by name; others come from the method's preset",
    )
    seed = serializers.IntegerField(required=False, min_value=0, max_value=2**31 - 1)


class NewRunSerializer(RunPlanSerializer):
    name = serializers.CharField(default="", allow_blank=True, max_length=100)
    must_be_servable = serializers.BooleanField(
        default=True, help_text="refuse a policy that the project's live endpoint could not load"
    )


class SpecSerializer(serializers.Serializer[Any]):
    spec = serializers.JSONField()
    spec_sha256 = serializers.CharField()


class MetricFilterSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(required=False, max_length=60, help_text="one metric; all of them without it")
    most = serializers.IntegerField(
        required=False, default=1000, min_value=1, max_value=100_000, help_text="points of each metric, evenly thinned"
    )


class MetricsSerializer(serializers.Serializer[Any]):
    metrics = serializers.DictField(
        child=serializers.ListField(child=serializers.ListField(child=serializers.FloatField(allow_null=True))),
        help_text="name -> [step, value] in order",
    )


class _Runs(ProjectApi):
    @property
    def rows(self) -> Any:
        return self.project.runs.select_related("base", "snapshot", "reward_model", "produced", "project")


class Runs(_Runs):
    @call(*READERS, query=RunFilterSerializer, lists=RunSerializer)
    def get(self, given: Given) -> Any:
        """Training runs, newest first."""
        return self.rows.filter(**{name: given[name] for name in ("method", "status") if name in given})

    @call(Scope.TRAIN, asks=NewRunSerializer, tells=RunSerializer, status=201, once=True)
    def post(self, given: Given) -> Any:
        """Train: a job with a frozen spec."""
        return start_run(project=self.project, by=self.by, **given)


class RunPlan(_Runs):
    @call(Scope.TRAIN, asks=RunPlanSerializer, tells=SpecSerializer)
    def post(self, given: Given) -> Any:
        """The spec that a run would be frozen with. Writes nothing."""
        spec = plan_run(project=self.project, **given)
        return {"spec": spec.model_dump(mode="json"), "spec_sha256": spec.sha256}


class OneRun(_Runs):
    @call(*READERS, tells=RunSerializer)
    def get(self, given: Given, key: str) -> Any:
        """Where a run stands."""
        return self.found(self.rows, key=key)


class CancelRun(_Runs):
    @call(Scope.TRAIN, tells=RunSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Ask a run to stop at its next step; its checkpoint is kept."""
        found = self.found(self.rows, key=key)
        cancel_run(found, by=self.by)
        return self.fresh(found)


class ContinueRun(_Runs):
    @call(Scope.TRAIN, tells=RunSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Go on with a failed or cancelled run from its last complete checkpoint."""
        found = self.found(self.rows, key=key)
        resume_run(found, by=self.by)
        return self.fresh(found)


class Metrics(_Runs):
    @call(*READERS, query=MetricFilterSerializer, tells=MetricsSerializer)
    def get(self, given: Given, key: str) -> Any:
        """The curves of a run."""
        found = points_of(self.found(self.rows, key=key))
        names = [given["name"]] if "name" in given else sorted(found)
        return {"metrics": {name: [_point(p) for p in thinned(found.get(name, ()), given["most"])] for name in names}}


def _point(point: tuple[int, float]) -> list[float | None]:
    step, value = point
    return [step, value if math.isfinite(value) else None]


# ---- evaluations -------------------------------------------------------------------------------------------------------


class EvaluationSerializer(serializers.ModelSerializer[Evaluation]):
    model = key_of(source="model_version")
    against = key_of(allow_null=True)
    prompt_set = key_of(allow_null=True)
    snapshot = key_of(allow_null=True)
    reward_model = key_of(allow_null=True)
    campaign = key_of(allow_null=True)
    sentence = serializers.SerializerMethodField(help_text="the outcome in words; empty until it has succeeded")
    details = serializers.SerializerMethodField()

    class Meta:
        model = Evaluation
        fields = (
            "key", "judge", "model", "against", "prompt_set", "snapshot", "reward_model", "campaign", *JOB_FIELDS, "options",
            "n_prompts", "wins", "ties", "losses", "value", "low", "high", "ceiling", "outcome", "sentence", "details",
        )  # fmt: skip

    def get_sentence(self, found: Evaluation) -> str:
        return in_words(found)[0]

    @extend_schema_field(serializers.JSONField())
    def get_details(self, found: Evaluation) -> dict[str, Any]:
        # Which version wrote which answer is behind the page's Reveal.
        return {name: value for name, value in found.details.items() if name != "examples"}


class EvaluationFilterSerializer(serializers.Serializer[Any]):
    judge = serializers.ChoiceField(required=False, choices=Evaluation.Judge.choices)
    model = InProject(_models, required=False)


class NewEvaluationSerializer(StrictSerializer):
    """Which of the others a judge needs is in docs/how-to/evaluate.md."""

    judge = serializers.ChoiceField(choices=Evaluation.Judge.choices)
    model = InProject(_models)
    against = InProject(_models, required=False)
    prompt_set = InProject(lambda project: project.prompt_sets.all(), required=False)
    snapshot = InProject(lambda project: project.snapshots.all(), required=False)
    reward_model = InProject(
        lambda project: _models(project).filter(purpose=ModelVersion.Purpose.REWARD), required=False
    )
    campaign = InProject(lambda project: Campaign.objects.filter(project=project), required=False)
    n_prompts = serializers.IntegerField(required=False, min_value=1, max_value=evaluate.MAX_PROMPTS)
    n_answers = serializers.IntegerField(required=False, min_value=1, max_value=16)


class _Evaluations(ProjectApi):
    @property
    def rows(self) -> Any:
        return self.project.evaluations.select_related(
            "model_version", "against", "prompt_set", "snapshot", "reward_model", "campaign", "project"
        )


class Evaluations(_Evaluations):
    @call(*READERS, query=EvaluationFilterSerializer, lists=EvaluationSerializer)
    def get(self, given: Given) -> Any:
        """Evaluations, newest first. Judges are never mixed."""
        wanted = {"judge": "judge", "model": "model_version"}
        return self.rows.filter(**{column: given[name] for name, column in wanted.items() if name in given})

    @call(Scope.TRAIN, asks=NewEvaluationSerializer, tells=EvaluationSerializer, status=201, once=True)
    def post(self, given: Given) -> Any:
        """Evaluate a version: a job."""
        asked = dict(given)
        options: dict[str, Any] = {name: asked.pop(name) for name in ("n_prompts", "n_answers") if name in asked}
        return evaluate.start_evaluation(
            project=self.project, model_version=asked.pop("model"), options=options, by=self.by, **asked
        )


class OneEvaluation(_Evaluations):
    @call(*READERS, tells=EvaluationSerializer)
    def get(self, given: Given, key: str) -> Any:
        """One evaluation with its interval."""
        return self.found(self.rows, key=key)


class CancelEvaluation(_Evaluations):
    @call(Scope.TRAIN, tells=EvaluationSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Stop an evaluation."""
        found = self.found(self.rows, key=key)
        evaluate.cancel_evaluation(found, by=self.by)
        return self.fresh(found)


class RetryEvaluation(_Evaluations):
    @call(Scope.TRAIN, tells=EvaluationSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Try a failed or cancelled evaluation again."""
        found = self.found(self.rows, key=key)
        evaluate.evaluate_again(found, by=self.by)
        return self.fresh(found)
