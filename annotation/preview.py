"""A campaign as an annotator will see it, before there is one: the same page, filled with an example from the chosen jobs.

Nothing is written: no task, no turn, no judgement.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from accounts.models import Project
from annotation.building import plan
from annotation.campaign_options import checked
from annotation.models import Campaign, TaskCandidate
from annotation.pages import Shown, TaskPage, Ways, extras_of, turns_of
from annotation.pairs import Pairing
from annotation.protocol import LETTERS
from annotation.screen import Entered, asked_of
from core.errors import require
from generation.models import Candidate, GenerationJob, Prompt

N_EXAMPLES = 5
PROMPTS_LOOKED_AT = 60


@dataclass(frozen=True)
class Example:
    """One task as it could be: a prompt and the answers to it, in slots."""

    prompt: Prompt
    texts: tuple[str, ...]


def examples_of(jobs: Sequence[GenerationJob], pairing: Pairing) -> list[Example]:
    """Some tasks that these answers would give; the same ones each time."""
    pks = [job.pk for job in jobs]
    prompts = sorted({pk for job in jobs for pk in job.prompt_ids[:PROMPTS_LOOKED_AT]})[:PROMPTS_LOOKED_AT]
    if not prompts:  # an import may not list its prompts
        found = Candidate.objects.filter(arm__job__in=pks).order_by("prompt_id").values_list("prompt_id", flat=True)
        prompts = list(dict.fromkeys(found[: PROMPTS_LOOKED_AT * 10]))[:PROMPTS_LOOKED_AT]
    tasks = plan(pks, pairing, salt="preview", prompts=prompts).tasks[:N_EXAMPLES]
    texts = dict(Candidate.objects.filter(pk__in=[s.pk for t in tasks for s in t.slots]).values_list("pk", "text"))
    by_pk = Prompt.objects.in_bulk([task.prompt_id for task in tasks])
    return [Example(by_pk[task.prompt_id], tuple(texts[slot.pk] for slot in task.slots)) for task in tasks]


def examples_in(campaign: Campaign) -> list[Example]:
    """The first tasks of a campaign that stands."""
    found = []
    for task in campaign.tasks.select_related("prompt").order_by("line")[:N_EXAMPLES]:
        rows = TaskCandidate.objects.filter(task=task).order_by("slot")
        found.append(Example(task.prompt, tuple(rows.values_list("candidate__text", flat=True))))
    return found


def unsaved(project: Project, *, kind: str, name: str = "Preview", options: Mapping[str, Any]) -> Campaign:
    """The campaign that these options would make. Raises DomainError for what makes no sense."""
    columns = checked({**options, "template": "", "cloned_from": None}, project=project, kind=kind)
    return Campaign(project=project, name=name or "Preview", kind=kind, stage=Campaign.Stage.OPEN, **columns)


def page_of(
    campaign: Campaign, example: Example, *, ways: Ways, entered: Entered | None = None, **more: Any
) -> TaskPage:
    """The annotate page of an example, in the order of its slots."""
    return TaskPage(
        project=campaign.project,
        campaign=campaign,
        key="preview",
        turns=turns_of(example.prompt),
        answers=[Shown(LETTERS[place], text) for place, text in enumerate(example.texts)],
        asked=asked_of(campaign, n_answers=len(example.texts), entered=entered, wrong=more.pop("wrong", ())),
        extras=extras_of(campaign, example.prompt),
        to=ways,
        is_sensitive=campaign.is_sensitive,
        support_text=campaign.support_text,
        **more,
    )


def preview_of(
    project: Project, jobs: Sequence[GenerationJob], pairing: Pairing, *, kind: str, options: Mapping[str, Any]
) -> TaskPage:
    """The first example of these answers under these options."""
    campaign = unsaved(project, kind=kind, options=options)
    found = examples_of(jobs, pairing)
    require(found, "No two answers of these jobs can be compared.", how="See what is left out, and why.")
    return page_of(campaign, found[0], ways=Ways(submit=""))
