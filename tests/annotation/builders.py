"""Builders for annotation tests: a project with answers, a campaign with tasks, people. Each call makes what it names."""

import random
from collections.abc import Sequence
from itertools import count
from typing import Any

from django.db import connection

from accounts.models import Membership, Project, Role, User
from annotation.building import build_tasks
from annotation.campaigns import start_campaign
from annotation.judge import submit_judgement
from annotation.models import Annotator, Assignment, Campaign, ComparisonTask, Judgement, TaskCandidate
from annotation.people import annotator_for
from annotation.protocol import Said
from core.bulk import Rows
from core.ids import content_sha256, group_sha256, new_key, sha256_hex, split_for
from generation.models import Candidate, GenerationJob, JobArm, ModelVersion, Prompt, PromptSet

_numbers = count(1)


def make_project(**fields: Any) -> Project:
    number = next(_numbers)
    return Project.objects.create(**{"slug": f"project-{number}", "name": f"Project {number}", **fields})


def make_user(name: str, project: Project | None = None, *roles: Role) -> User:
    user = User.objects.create_user(username=f"{name.lower()}-{next(_numbers)}", password="a long password", name=name)
    if project is not None and roles:
        Membership.objects.create(project=project, user=user, **Membership.flags(set(roles)))
    return user


def make_annotator(project: Project, name: str = "Ana") -> Annotator:
    return annotator_for(make_user(name, project, Role.ANNOTATOR), project)


def make_people(project: Project, n_people: int) -> list[Annotator]:
    return [make_annotator(project, f"Person {number}") for number in range(n_people)]


def make_model(project: Project, slug: str = "") -> ModelVersion:
    return ModelVersion.objects.create(project=project, slug=slug or f"model-{next(_numbers)}", kind="base")


def make_prompt(prompt_set: PromptSet, text: str, number: int = 1) -> Prompt:
    messages = [{"role": "user", "content": text}]
    group = group_sha256(text)
    return Prompt.objects.create(
        set=prompt_set,
        number=number,
        messages=messages,
        content_sha256=content_sha256(messages),
        group_sha256=group,
        split=split_for(group),
    )


def make_prompts(project: Project, n_prompts: int) -> list[Prompt]:
    prompt_set = PromptSet.objects.create(project=project, name=f"set-{next(_numbers)}", n_prompts=n_prompts)
    return [make_prompt(prompt_set, f"Question {number}?", number) for number in range(1, n_prompts + 1)]


def make_candidates(arm: JobArm, prompt: Prompt, texts: Sequence[str]) -> list[Candidate]:
    return Candidate.objects.bulk_create(
        Candidate(arm=arm, prompt=prompt, index=index, text=text, text_sha256=sha256_hex(text))
        for index, text in enumerate(texts)
    )


def make_job(
    project: Project,
    *,
    n_prompts: int = 3,
    n_answers: int = 2,
    models: Sequence[ModelVersion] = (),
    prompts: Sequence[Prompt] = (),
) -> GenerationJob:
    """A finished job: every model answers every prompt ``n_answers`` times, each text another one."""
    prompts = prompts or make_prompts(project, n_prompts)
    job = GenerationJob.objects.create(
        project=project, prompt_set=prompts[0].set, status="succeeded", prompt_ids=[prompt.pk for prompt in prompts]
    )
    for number, model in enumerate(models or [make_model(project)]):
        arm = JobArm.objects.create(job=job, number=number, model_version=model)
        for prompt in prompts:
            make_candidates(arm, prompt, [f"Answer {number}-{index} to {prompt.key}." for index in range(n_answers)])
    return job


def make_campaign(
    project: Project | None = None,
    *,
    n_tasks: int = 3,
    overlap: int = 1,
    job: GenerationJob | None = None,
    pairing: dict[str, Any] | None = None,
    kind: str = "pair",
    **options: Any,
) -> Campaign:
    """An open campaign, built by the real job: two answers a prompt give one task a prompt."""
    project = project or make_project()
    job = job or make_job(project, n_prompts=n_tasks)
    campaign = start_campaign(
        project=project,
        name=f"Campaign {next(_numbers)}",
        jobs=[job],
        pairing=pairing or {"pairs": "within"},
        overlap=overlap,
        kind=kind,
        options=options,
        by=None,
    )
    build_tasks(campaign)
    campaign.refresh_from_db()
    return campaign


def said_as_shown(turn: Assignment, ranks: Sequence[int] = (1, 2), *, verdict: str = "ranked", **more: Any) -> Said:
    """What somebody says who ranks the answers in the order in which they are shown."""
    places = {slot: place for place, slot in enumerate(turn.display_order)}
    by_slot = tuple(ranks[places[slot]] for slot in sorted(places) if places[slot] < len(ranks)) + tuple(
        ranks[len(places) :]
    )
    return Said(verdict=verdict, ranks=by_slot if verdict == "ranked" else (), **more)


def judge(turn: Assignment, ranks: Sequence[int] = (1, 2), *, verdict: str = "ranked", **more: Any) -> Judgement:
    """``turn``'s person submits this; ranks in the order shown."""
    said = said_as_shown(turn, ranks, verdict=verdict, **more)
    return submit_judgement(assignment_key=turn.key, annotator=turn.annotator, said=said)


def grown_campaign(n_tasks: int, overlap: int = 5) -> Campaign:
    """A campaign with as many tasks again of the same two answers: their texts play no part in the search."""
    campaign = make_campaign(n_tasks=1, overlap=overlap)
    task = campaign.tasks.get()
    dice = random.Random(1)
    rows = Rows(
        ComparisonTask,
        *("key", "candidates_sha256", "position"),
        campaign_id=campaign.pk,
        prompt_id=task.prompt_id,
        seats=overlap,
    )
    rows.insert((new_key(), f"{number:064x}", dice.randrange(2**31)) for number in range(n_tasks - 1))
    slots = list(task.slots.values_list("slot", "candidate_id"))
    others = campaign.tasks.exclude(pk=task.pk).values_list("pk", flat=True)
    Rows(TaskCandidate, "task_id", "slot", "candidate_id").insert((each, *slot) for each in others for slot in slots)
    Campaign.objects.filter(pk=campaign.pk).update(n_tasks=n_tasks)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE annotation_comparisontask")
    return campaign
