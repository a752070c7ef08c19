"""Builders for judged answers: a project, prompts, tasks of two answers, and what people said of them. Each call makes what it names."""

from collections.abc import Sequence
from itertools import count
from typing import Any

from accounts.models import Membership, Project, Role, User
from annotation.models import (
    Annotator,
    Assignment,
    Campaign,
    ComparisonTask,
    Judgement,
    RankedCandidate,
    TaskCandidate,
)
from core.ids import content_sha256, group_sha256, new_key, sha256_hex
from core.jobs import JobStatus
from generation.models import Candidate, GenerationJob, JobArm, ModelVersion, Prompt, PromptSet
from training.freezing import run_freeze, start_freeze
from training.models import Snapshot

_numbers = count(1)
RANKS = {"A": ("ranked", (1, 2)), "B": ("ranked", (2, 1)), "tie": ("tie", (1, 1)), "bad": ("all_bad", (1, 1))}


def make_project(**fields: Any) -> Project:
    number = next(_numbers)
    return Project.objects.create(**{"slug": f"lab-{number}", "name": f"Lab {number}", **fields})


def make_person(name: str, project: Project | None = None, *roles: Role) -> User:
    user = User.objects.create_user(username=f"{name.lower()}-{next(_numbers)}", password="a long password", name=name)
    if project is not None:
        Membership.objects.create(project=project, user=user, **Membership.flags(set(roles)))
    return user


def make_annotator(project: Project, *, kind: str = "human", user: User | None = None) -> Annotator:
    return Annotator.objects.create(project=project, pseudonym=f"{kind}-{next(_numbers)}", kind=kind, user=user)


def make_set(project: Project) -> PromptSet:
    return PromptSet.objects.create(project=project, name=f"set-{next(_numbers)}")


def make_prompt(prompt_set: PromptSet, text: str, *, split: str = "train", group: str = "", **fields: Any) -> Prompt:
    messages = fields.pop("messages", [{"role": "user", "content": text}])
    prompt = Prompt.objects.create(
        set=prompt_set,
        number=prompt_set.n_prompts + 1,
        messages=messages,
        content_sha256=content_sha256(messages),
        group_sha256=group_sha256(group or text),
        split=split,
        **fields,
    )
    prompt_set.n_prompts += 1
    prompt_set.save(update_fields=["n_prompts"])
    return prompt


def make_version(project: Project, slug: str = "", **fields: Any) -> ModelVersion:
    values = {"kind": "base", "slug": slug or f"model-{next(_numbers)}", **fields}
    return ModelVersion.objects.create(project=project, **values)


def make_adapter(parent: ModelVersion, slug: str = "") -> ModelVersion:
    return make_version(
        parent.project, slug, kind="adapter", parent=parent, artifact_sha256=sha256_hex(f"adapter-{next(_numbers)}")
    )


def make_arm(project: Project, version: ModelVersion | None = None, *, job: GenerationJob | None = None) -> JobArm:
    job = job or GenerationJob.objects.create(project=project, status=JobStatus.SUCCEEDED)
    return JobArm.objects.create(job=job, number=job.arms.count(), model_version=version or make_version(project))


def make_answer(arm: JobArm, prompt: Prompt, text: str) -> Candidate:
    index = Candidate.objects.filter(arm=arm, prompt=prompt).count()
    return Candidate.objects.create(
        arm=arm, prompt=prompt, index=index, text=text, text_sha256=sha256_hex(text), finish_reason="stop"
    )


def make_campaign(project: Project, **fields: Any) -> Campaign:
    return Campaign.objects.create(project=project, name=f"Campaign {next(_numbers)}", stage="open", **fields)


def make_task(campaign: Campaign, answers: Sequence[Candidate], *, seats: int = 9) -> ComparisonTask:
    campaign.jobs.add(*{answer.arm.job for answer in answers})
    task = ComparisonTask.objects.create(
        campaign=campaign,
        prompt=answers[0].prompt,
        candidates_sha256=sha256_hex("".join(answer.key for answer in answers)),
        seats=seats,
        position=next(_numbers),
    )
    TaskCandidate.objects.bulk_create(
        TaskCandidate(task=task, candidate=answer, slot=slot) for slot, answer in enumerate(answers)
    )
    return task


def judge(
    task: ComparisonTask,
    annotator: Annotator,
    says: str | Sequence[int],
    *,
    key: str = "",
    purpose: str = "work",
    **fields: Any,
) -> Judgement:
    """``says``: A, B, tie or bad for two answers; ranks in the order of the slots for more."""
    verdict, ranks = RANKS[says] if isinstance(says, str) else ("ranked", tuple(says))
    assignment = Assignment.objects.create(
        task=task,
        annotator=annotator,
        purpose=purpose,
        seat=task.assignments.count() if purpose == "work" else None,
        display_order=list(range(len(ranks))),
        status="submitted",
    )
    source = "simulated" if annotator.kind == "simulated" else "annotator"
    judgement = Judgement.objects.create(
        key=key or new_key(), assignment=assignment, **{"source": source, "verdict": verdict, **fields}
    )
    slots = list(task.slots.select_related("candidate"))
    RankedCandidate.objects.bulk_create(
        RankedCandidate(judgement=judgement, candidate=slot.candidate, rank=rank)
        for slot, rank in zip(slots, ranks, strict=True)
    )
    assignment.current = judgement
    assignment.save(update_fields=["current"])
    return judgement


def take_back(judgement: Judgement, *, verdict: str = "withdrawn", status: str = "open") -> Judgement:
    """An undo (or, with ``voided`` and ``released``, a void): the next revision stands."""
    assignment = judgement.assignment
    after = Judgement.objects.create(assignment=assignment, revision=judgement.revision + 1, verdict=verdict)
    Assignment.objects.filter(pk=assignment.pk).update(
        current=after, status=status, seat=None if status == "released" else assignment.seat
    )
    return after


def make_judged(
    project: Project,
    says: Sequence[str] = ("A", "B", "A"),
    *,
    n_held_out: int = 0,
    annotator: Annotator | None = None,
    arm: JobArm | None = None,
    campaign: Campaign | None = None,
) -> Campaign:
    """A campaign with one task a prompt and one judgement a task; the last ``n_held_out`` prompts are held out."""
    prompts, arm = make_set(project), arm or make_arm(project)
    campaign, annotator = campaign or make_campaign(project), annotator or make_annotator(project)
    for number, said in enumerate(says):
        held_out = number >= len(says) - n_held_out
        prompt = make_prompt(prompts, f"Question {prompts.pk}.{number}?", split="holdout" if held_out else "train")
        answers = [make_answer(arm, prompt, f"{word} answer {number}") for word in ("First", "Second")]
        judge(make_task(campaign, answers), annotator, said)
    return campaign


def freeze(project: Project, campaigns: Sequence[Campaign], **options: Any) -> Snapshot:
    """A frozen dataset, by the real job."""
    values = {"name": f"data-{next(_numbers)}", "by": None, **options}
    snapshot = start_freeze(project=project, campaigns=campaigns, **values)
    run_freeze(snapshot.pk)
    snapshot.refresh_from_db()
    return snapshot
