"""What a model's page says of its making: the run, its dataset and the judgements in it, told downwards to ``generation``."""

from django.urls import reverse

from core.counting import counted
from generation.models import ModelVersion
from generation.registry import LineageLink
from training.lineage import lineage_of


def links_of(version: ModelVersion) -> list[LineageLink]:
    """The steps below one version, from its run to the judgements; none for a model that nothing here trained."""
    step = lineage_of(version).steps[0]
    if step.run is None or step.snapshot is None:
        return []
    given = f"{counted(step.n_judgements, 'judgement')} by {counted(step.n_people, 'person', 'people')}"

    def to(name: str, key: str) -> str:
        return reverse(name, args=[version.project.slug, key])

    return [
        LineageLink("made by", f"the run {step.run}", to("training:run", step.run.key)),
        LineageLink("from", f"the dataset {step.snapshot}", to("training:snapshot", step.snapshot.key)),
        LineageLink("which holds", f"{given}, {step.n_train:,} to learn from"),
        *(
            LineageLink(
                "given in", f"{it.name}: {counted(it.n_judgements, 'judgement')}", to("annotation:campaign", it.key)
            )
            for it in step.sources
        ),
        LineageLink("down to", "every judgement behind it", to("training:model-lineage", version.key)),
    ]
