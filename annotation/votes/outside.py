"""The outside models of an import: a model version for each name, an arm for each way it was sampled."""

import json
from collections.abc import Iterable
from typing import Any

from django.utils.text import slugify

from generation.models import GenerationJob, JobArm, ModelVersion

SEPARATOR = "\x00"  # no name of a model holds it


def arm_key(model: str, sampling: Any = None, engine: str = "") -> str:
    """What tells the arms of an import apart: the model's name and, where the file says them, settings and engine."""
    if not sampling and not engine:
        return model
    return SEPARATOR.join((model, json.dumps(sampling or {}, sort_keys=True), engine))


class Models:
    """``arms``: key of ``arm_key`` -> arm of the import's job."""

    def __init__(self, project_id: int, job: GenerationJob, *, licence: str) -> None:
        self.project_id, self.job, self.licence = project_id, job, licence
        rows = JobArm.objects.filter(job=job).values_list("model_version__source", "sampling", "engine_version", "pk")
        self.arms = {arm_key(source, sampling, engine): pk for source, sampling, engine, pk in rows}

    def learn(self, keys: Iterable[str]) -> None:
        """Make an outside model for each name that has none, and its arms; a name that the project knows is that model."""
        wanted = sorted(set(keys) - self.arms.keys())
        if not wanted:
            return
        versions = self._versions({key.partition(SEPARATOR)[0] for key in wanted})
        arms = []
        for number, key in enumerate(wanted, len(self.arms)):
            name, *more = key.split(SEPARATOR)
            sampling, engine = (json.loads(more[0]), more[1]) if more else ({}, "")
            arms.append(
                JobArm(
                    job=self.job,
                    number=number,
                    model_version_id=versions[name],
                    sampling=sampling,
                    engine_version=engine,
                )
            )
        self.arms.update(zip(wanted, (arm.pk for arm in JobArm.objects.bulk_create(arms)), strict=True))

    def _versions(self, names: Iterable[str]) -> dict[str, int]:
        outside = ModelVersion.objects.filter(project=self.project_id, kind=ModelVersion.Kind.OUTSIDE)
        there = dict(outside.values_list("source", "pk"))
        taken = set(ModelVersion.objects.filter(project=self.project_id).values_list("slug", flat=True))
        fresh = []
        for name in sorted(set(names) - there.keys()):
            slug = _free_slug(name, taken)
            taken.add(slug)
            fresh.append(
                ModelVersion(
                    project_id=self.project_id, slug=slug, kind=ModelVersion.Kind.OUTSIDE, source=name,
                    licence=self.licence[:100], facts={"imported_by": self.job.key},
                )
            )  # fmt: skip
        return there | {version.source: version.pk for version in ModelVersion.objects.bulk_create(fresh)}


def _free_slug(name: str, taken: set[str]) -> str:
    stem = slugify(name.replace(".", "-").replace("/", "-"))[:50].strip("-_") or "model"
    if stem not in taken:
        return stem
    number = 2
    while f"{stem}-{number}" in taken:
        number += 1
    return f"{stem}-{number}"
