"""The API of generation jobs. Which model wrote what stays behind a Reveal, which is recorded, until judging is over."""

from collections import defaultdict
from typing import Any

from django.db.models import Count
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.api.base import JOB_FIELDS, Given, InProject, ProjectApi, call, key_of
from accounts.tokens import Scope
from core.api import StrictSerializer, answer_page
from core.errors import require
from generation import sampling as services
from generation.engines.base import Sampling
from generation.models import Candidate, GenerationJob, Prompt

PLAIN = Sampling()


class ArmSerializer(serializers.Serializer[Any]):
    letter = serializers.CharField()
    model = serializers.CharField(source="model_version.key")
    model_name = serializers.CharField(source="model_version.slug")
    sampling = serializers.JSONField()
    n_answers = serializers.IntegerField(source="n")


class GenerationJobSerializer(serializers.ModelSerializer[GenerationJob]):
    prompt_set = key_of(allow_null=True)
    n_prompts = serializers.SerializerMethodField()
    is_revealed = serializers.SerializerMethodField(help_text="whether ``arms`` may be told")
    arms = serializers.SerializerMethodField(help_text="null while the models are hidden: see ``reveal``")

    class Meta:
        model = GenerationJob
        fields = (
            "key", "kind", "prompt_set", *JOB_FIELDS, "selection", "n_prompts", "n_answers", "seed", "n_failed", "n_tokens",
            "n_shortened", "answers_per_second", "tokens_per_second", "is_revealed", "arms",
        )  # fmt: skip

    def get_n_prompts(self, job: GenerationJob) -> int:
        return len(job.prompt_ids)

    def to_representation(self, job: GenerationJob) -> Any:
        self.is_told = services.may_see_models(job, self.context["request"].user)
        return super().to_representation(job)

    def get_is_revealed(self, job: GenerationJob) -> bool:
        return self.is_told

    @extend_schema_field(ArmSerializer(many=True, allow_null=True))
    def get_arms(self, job: GenerationJob) -> list[dict[str, Any]] | None:
        if not self.is_told:
            return None
        arms = job.arms.select_related("model_version").annotate(n=Count("candidates")).order_by("number")
        return list(ArmSerializer(arms, many=True).data)


class SelectionSerializer(StrictSerializer):
    tags = serializers.ListField(child=serializers.CharField(max_length=200), default=list, max_length=50)
    split = serializers.ChoiceField(choices=["", "train", "holdout"], default="")
    n = serializers.IntegerField(
        min_value=1, max_value=10_000_000, default=None, allow_null=True, help_text="null: all"
    )
    order = serializers.ChoiceField(choices=["random", "number"], default="random")
    unused_first = serializers.BooleanField(default=False)


class SamplingSerializer(StrictSerializer):
    temperature = serializers.FloatField(default=PLAIN.temperature, min_value=0, max_value=5)
    top_p = serializers.FloatField(default=PLAIN.top_p, min_value=0, max_value=1)
    top_k = serializers.IntegerField(default=PLAIN.top_k, min_value=0, max_value=100_000)
    min_p = serializers.FloatField(default=PLAIN.min_p, min_value=0, max_value=1)
    repetition_penalty = serializers.FloatField(default=PLAIN.repetition_penalty, min_value=0.1, max_value=10)
    max_tokens = serializers.IntegerField(default=PLAIN.max_tokens, min_value=1, max_value=1_000_000)
    stop = serializers.ListField(
        child=serializers.CharField(max_length=100, trim_whitespace=False), default=list, max_length=16
    )


class NewArmSerializer(StrictSerializer):
    """One model with one set of sampling settings: a deployment, or a model that is deployed."""

    deployment = InProject(lambda project: project.deployments.select_related("model_version"), required=False)
    model = InProject(lambda project: project.model_versions.all(), required=False)
    sampling = SamplingSerializer(default=dict)


class NewGenerationJobSerializer(StrictSerializer):
    prompt_set = InProject(lambda project: project.prompt_sets.all())
    selection = SelectionSerializer(default=dict)
    arms = NewArmSerializer(many=True, allow_empty=False)
    n_answers = serializers.IntegerField(default=4, min_value=1, max_value=services.MAX_ANSWERS_PER_PROMPT)
    seed = serializers.IntegerField(default=0, min_value=0, max_value=2**31 - 1)


class _Jobs(ProjectApi):
    @property
    def rows(self) -> Any:
        return self.project.generation_jobs.select_related("prompt_set", "project")


class GenerationJobs(_Jobs):
    @call(Scope.READ, lists=GenerationJobSerializer)
    def get(self, given: Given) -> Any:
        """Generation jobs, newest first; not those of live conversations."""
        return self.rows.exclude(kind=GenerationJob.Kind.LIVE)

    @call(Scope.GENERATE, asks=NewGenerationJobSerializer, tells=GenerationJobSerializer, status=201, once=True)
    def post(self, given: Given) -> Any:
        """Generate answers: a job; follow it at its own address."""
        return services.start_generation(
            project=self.project,
            prompt_set=given["prompt_set"],
            selection=_filled(SelectionSerializer, given["selection"]),
            arms=[_arm(arm) for arm in given["arms"]],
            n_answers=given["n_answers"],
            seed=given["seed"],
            by=self.by,
        )


def _filled(form: Any, given: dict[str, Any]) -> dict[str, Any]:
    """With its defaults, where the whole was left out."""
    filled = form(data=dict(given))
    filled.is_valid(raise_exception=True)
    return dict(filled.validated_data)


def _arm(given: dict[str, Any]) -> dict[str, Any]:
    deployment, model = given.get("deployment"), given.get("model")
    require((deployment is None) != (model is None), "Each arm names either a deployment or a model.")
    return {
        "deployment": deployment,
        "model_version": model,
        "sampling": _filled(SamplingSerializer, given["sampling"]),
    }


class OneGenerationJob(_Jobs):
    @call(Scope.READ, tells=GenerationJobSerializer)
    def get(self, given: Given, key: str) -> Any:
        """Where a job stands."""
        return self.found(self.rows, key=key)


class CancelGenerationJob(_Jobs):
    @call(Scope.GENERATE, tells=GenerationJobSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Ask a job to stop; the answers that are there stay."""
        job = self.found(self.rows, key=key)
        services.cancel_generation(job, by=self.by)
        return self.fresh(job)


class ContinueGenerationJob(_Jobs):
    @call(Scope.GENERATE, tells=GenerationJobSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Go on with a failed or cancelled job: it writes what is missing."""
        job = self.found(self.rows, key=key)
        services.continue_generation(job, by=self.by)
        return self.fresh(job)


class RevealGenerationJob(_Jobs):
    @call(Scope.GENERATE, tells=GenerationJobSerializer)
    def post(self, given: Given, key: str) -> Any:
        """Ask which model wrote what. Recorded: what the token's owner judges of it from now on is not blind."""
        job = self.found(self.rows, key=key)
        services.reveal_models(job, user=self.by, page="api")
        return job


# ---- answers -----------------------------------------------------------------------------------------------------------


class AnswerSerializer(serializers.Serializer[Any]):
    key = serializers.CharField()
    text = serializers.CharField(allow_blank=True)
    writer = serializers.JSONField(help_text="arm, model, index and how it ended; null while models are hidden")


class PromptAnswersSerializer(serializers.Serializer[Any]):
    key = serializers.CharField(help_text="of the prompt")
    messages = serializers.JSONField()
    answers = AnswerSerializer(many=True)


class Answers(_Jobs):
    @call(Scope.READ, lists=PromptAnswersSerializer)
    def get(self, given: Given, key: str) -> Any:
        """The answers, prompt by prompt. While models are hidden, their order within a prompt says nothing of its arm."""
        job = self.found(self.rows, key=key)
        first, limit = _place(given.get("cursor", "0"), len(job.prompt_ids)), given["limit"]
        shown = job.prompt_ids[first : first + limit]
        more = str(first + limit) if first + limit < len(job.prompt_ids) else None
        return answer_page(self.request, _told(job, shown, services.may_see_models(job, self.by)), more)


def _place(cursor: str, most: int) -> int:
    require(
        cursor.isascii() and cursor.isdecimal() and len(cursor) < 10 and int(cursor) <= most,
        "This cursor is unknown.",
        how="Begin again without one.",
    )
    return int(cursor)


def _told(job: GenerationJob, prompt_ids: list[int], is_revealed: bool) -> list[dict[str, Any]]:
    prompts = Prompt.objects.in_bulk(prompt_ids)
    answers: dict[int, list[Candidate]] = defaultdict(list)
    for each in Candidate.objects.filter(arm__job=job, prompt__in=prompt_ids).select_related("arm__model_version"):
        answers[each.prompt_id].append(each)
    told = []
    for pk in (pk for pk in prompt_ids if pk in prompts):
        ordered = sorted(
            answers[pk], key=lambda each: (each.arm.number, each.index) if is_revealed else each.text_sha256
        )
        rows = [{"key": c.key, "text": c.text, "writer": _writer(c) if is_revealed else None} for c in ordered]
        told.append({"key": prompts[pk].key, "messages": prompts[pk].messages, "answers": rows})
    return told


def _writer(answer: Candidate) -> dict[str, Any]:
    return {
        "arm": answer.arm.letter,
        "model": answer.arm.model_version.key,
        "model_name": answer.arm.model_version.slug,
        "index": answer.index,
        "seed": answer.seed,
        "finish_reason": answer.finish_reason,
        "n_prompt_tokens": answer.n_prompt_tokens,
        "n_completion_tokens": answer.n_completion_tokens,
    }
