"""The API of lineage: from a model down to the judgements, and from a judgement up to the models. People are pseudonyms."""

from dataclasses import asdict
from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import NotFound

from accounts.api.base import Given, ProjectApi, call
from accounts.tokens import Scope
from annotation.models import Judgement
from generation.models import Candidate, ModelVersion
from generation.sampling import may_see_models
from training.holdings import MOST_ROWS, Thing, holdings_of, jobs_telling, judgements_of, rows_holding
from training.lineage import Step, judgements_behind, lineage_of, uses_of, versions_using
from training.lineage_views import RankedAnswer, answers_of, jobs_in, jobs_of_answers, sees_all, things

READERS = (Scope.READ, Scope.REVIEW)


class ModelLineageSerializer(serializers.Serializer[Any]):
    """``writers`` is null while the models that wrote the judged answers are hidden."""

    model = serializers.CharField()
    n_judgements = serializers.IntegerField()
    steps = serializers.JSONField(help_text="each training on the way, newest first: run, dataset, campaigns, writers")
    evaluations = serializers.ListField(child=serializers.CharField())


class JudgementKeySerializer(serializers.Serializer[Any]):
    key = serializers.CharField()
    annotator = serializers.CharField(source="assignment.annotator.pseudonym")


class JudgementLineageSerializer(serializers.Serializer[Any]):
    key = serializers.CharField()
    annotator = serializers.CharField()
    campaign = serializers.CharField()
    task = serializers.CharField()
    prompt = serializers.JSONField(help_text="set, key and messages")
    stands = serializers.BooleanField()
    answers = serializers.JSONField(help_text="with ranks, the best first; ``writer`` is null while models are hidden")
    snapshots = serializers.JSONField(help_text="the datasets that hold it, and the versions trained on them")
    models = serializers.ListField(child=serializers.CharField(), help_text="every version that learnt from it")


class HoldingsQuerySerializer(serializers.Serializer[Any]):
    dataset = serializers.CharField(required=False, max_length=12, help_text="tell the rows of this dataset, too")


class HoldingsSerializer(serializers.Serializer[Any]):
    """``judgements`` and ``rows`` are null while they would tell which model wrote which answer."""

    what = serializers.CharField()
    key = serializers.CharField()
    datasets = serializers.JSONField(
        help_text="that hold it: judgements to learn from and held out, and the models trained on them"
    )
    n_judgements = serializers.IntegerField()
    judgements = serializers.JSONField(help_text="the first hundred by key")
    writer = serializers.JSONField(help_text="of an answer: its model, job and sampling; null while models are hidden")
    rows = serializers.JSONField(
        help_text="of the dataset that was asked for: id, split, kind, judgements; the first hundred"
    )
    has_more_rows = serializers.BooleanField()


class ModelLineage(ProjectApi):
    @call(*READERS, tells=ModelLineageSerializer)
    def get(self, given: Given, key: str) -> Any:
        """From a version down to the judgements: counts by run, dataset, campaign and generation job."""
        version = self.found(ModelVersion.objects.filter(project=self.project).select_related("parent"), key=key)
        lineage = lineage_of(version)
        sees = sees_all(jobs_in(lineage), self.by)
        return {
            "model": version.key,
            "n_judgements": lineage.n_judgements,
            "steps": [_step(step, sees) for step in lineage.steps],
            "evaluations": [each.key for each in lineage.evaluations],
        }


def _step(step: Step, sees: bool) -> dict[str, Any]:
    writers = [
        {
            "job": writer.job.key,
            "model": writer.arm.model_version.key,
            "sampling": writer.arm.sampling,
            "n_judgements": writer.n_judgements,
        }
        for writer in step.writers
    ]
    return {
        "model": step.version.key,
        "model_name": step.version.slug,
        "run": step.run.key if step.run else None,
        "snapshot": step.snapshot.key if step.snapshot else None,
        "n_judgements": step.n_judgements,
        "n_train": step.n_train,
        "n_held_out": step.n_held_out,
        "n_people": step.n_people,
        "campaigns": [
            {"campaign": each.key, "name": each.name, "n_judgements": each.n_judgements, "n_people": each.n_people}
            for each in step.sources
        ],
        "writers": writers if sees else None,
    }


class ModelJudgements(ProjectApi):
    @call(*READERS, lists=JudgementKeySerializer)
    def get(self, given: Given, key: str) -> Any:
        """Every judgement that a version or one of its ancestors was trained on."""
        version = self.found(ModelVersion.objects.filter(project=self.project).select_related("parent"), key=key)
        behind = judgements_behind(version).order_by().values("pk")
        return Judgement.objects.filter(pk__in=behind).select_related("assignment__annotator")


class Holdings(ProjectApi):
    what = ""

    @call(*READERS, query=HoldingsQuerySerializer, tells=HoldingsSerializer)
    def get(self, given: Given, key: str) -> Any:
        """Up from what was judged: the datasets and rows that hold it, and the models that learnt from it."""
        thing: Thing = self.found(things(self.project, self.what), key=key)
        held, judged = holdings_of(thing), judgements_of(thing)
        is_open = sees_all(jobs_telling(thing), self.by)
        rows, has_more = None, False
        if given.get("dataset"):
            snapshot = next((each.snapshot for each in held if each.snapshot.key == given["dataset"]), None)
            if snapshot is None:
                raise NotFound("That dataset does not hold it.")
            rows, has_more = rows_holding(snapshot, thing) if is_open else (None, False)
        return {
            "what": self.what,
            "key": key,
            "datasets": [
                {
                    "snapshot": each.snapshot.key, "name": each.snapshot.name, "n_train": each.n_train, "n_test": each.n_test,
                    "models": [version.key for version in each.versions],
                }
                for each in held
            ],
            "n_judgements": judged.count(),
            "judgements": list(judged.order_by("key").values_list("key", flat=True)[:MOST_ROWS]) if is_open else None,
            "writer": _writer(thing) if isinstance(thing, Candidate) and may_see_models(thing.arm.job, self.by) else None,
            "rows": None if rows is None else [asdict(row) for row in rows],
            "has_more_rows": has_more,
        }  # fmt: skip


class JudgementLineage(ProjectApi):
    @call(*READERS, tells=JudgementLineageSerializer)
    def get(self, given: Given, key: str) -> Any:
        """From a judgement to its task, its answers, their models and sampling, the prompt; and up to what learnt from it."""
        rows = Judgement.objects.select_related(
            "assignment__task__campaign", "assignment__task__prompt__set", "assignment__annotator"
        )
        found = self.found(rows.filter(assignment__task__campaign__project=self.project), key=key)
        turn, answers = found.assignment, answers_of(found)
        sees = sees_all(jobs_of_answers(answers), self.by)
        prompt = turn.task.prompt
        return {
            "key": found.key,
            "annotator": turn.annotator.pseudonym,
            "campaign": turn.task.campaign.key,
            "task": turn.task.key,
            "prompt": {"set": prompt.set.key, "key": prompt.key, "messages": prompt.messages},
            "stands": turn.current_id == found.pk and found.verdict not in ("withdrawn", "voided"),
            "answers": [_answer(answer, sees) for answer in answers],
            "snapshots": [
                {"snapshot": use.snapshot.key, "split": use.split, "models": [each.key for each in use.versions]}
                for use in uses_of(found)
            ],
            "models": [version.key for version in versions_using(found)],
        }


def _answer(answer: RankedAnswer, sees: bool) -> dict[str, Any]:
    candidate = answer.candidate
    writer = _writer(candidate) if sees else None
    return {"key": candidate.key, "text": candidate.text, "rank": answer.rank, "writer": writer}


def _writer(candidate: Candidate) -> dict[str, Any]:
    version = candidate.arm.model_version
    return {
        "model": version.key,
        "model_name": version.slug,
        "job": candidate.arm.job.key,
        "sampling": candidate.arm.sampling,
        "index": candidate.index,
        "seed": candidate.seed,
        "finish_reason": candidate.finish_reason,
    }
