"""What goes out and in again: rows as our own votes, frozen, exported, and brought into a project that knows nothing else."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from accounts.models import Project
from annotation.models import Campaign
from core.ids import group_sha256, split_for
from generation.models import PromptSet
from tests.annotation.votes import import_votes, row, vote
from tests.training.judged import (
    judge,
    make_annotator,
    make_answer,
    make_arm,
    make_campaign,
    make_project,
    make_task,
)
from training.exports.formats import FORMATS
from training.exports.job import file_of, run_export, start_export
from training.freezing import run_freeze, start_freeze
from training.models import Snapshot

ODD = [
    "CR\r\nLF",
    "U+2028 \u2028 inside",
    "\u202eright to left\u202c",
    'tab\tand \\N and "quotes"',
    "emoji \U0001f468\u200d\U0001f469\u200d\U0001f467",
    " space before",
]
SELECTION = {"with_unblinded": True}
LOSSLESS = (
    "trl-preference",
    "trl-preference-text",
    "trl-implicit",
    "hh",
    "trl-reward",
    "trl-reward-text",
    "openai-preference",
)
UNPAIRED = {"unpaired": True}
FULL_OPTIONS = {"models": True, "people": True}


def prompts() -> Iterator[str]:
    """Prompts that lie on the side of training by their own hash, so that they do so wherever they come in."""
    number = 0
    while True:
        text = f"Question {number}? {ODD[number % len(ODD)]}"
        if split_for(group_sha256(text)) == "train":
            yield text
        number += 1


def rows(n: int = 12) -> list[dict[str, Any]]:
    found = []
    for number, text in zip(range(n), prompts(), strict=False):
        odd = ODD[(number + 1) % len(ODD)]
        answers = [
            {"model": f"M{number % 3}", "text": f"{number} first {odd}"},
            {"model": "N", "text": f"second {odd} {number}"},
        ]
        prompt: Any = text
        if number % 3 == 1:
            prompt = [
                {"role": "system", "content": "Be brief."}, {"role": "user", "content": text},
                {"role": "assistant", "content": f"Well. {odd}"}, {"role": "user", "content": "And then?"},
            ]  # fmt: skip
        time = f"2026-01-02T03:04:{number:02}Z"
        votes = [
            vote(
                "7",
                "ab"[number % 2],
                order=["ab", "ba"][number % 2],
                strength=1 + number % 3,
                time=time,
                vote_id=f"v{number}",
                **({"better_answer": f"{odd}, better"} if number % 5 == 1 else {}),
            )
        ]
        if number % 4 == 2:
            votes = [
                vote(
                    "8", ["tie", "both_good", "both_bad"][number // 4 % 3], order="ab", time=time, vote_id=f"v{number}"
                )
            ]
        found.append(row(number, prompt=prompt, answers=answers, votes=votes, id=f"t{number}", **details_of(number)))
    return found


def details_of(number: int) -> dict[str, Any]:
    return {"tags": ["odd", "even, too"][: number % 3], "reference": f"Reference {number}" if number % 2 else ""}


def frozen(project: Project, name: str = "x", **options: Any) -> Snapshot:
    campaigns = list(Campaign.objects.filter(project=project).order_by("pk"))
    snapshot = start_freeze(project=project, name=name, campaigns=campaigns, selection=SELECTION, by=None, **options)
    run_freeze(snapshot.pk)
    snapshot.refresh_from_db()
    assert snapshot.status == "succeeded", snapshot.error
    return snapshot


def exported(snapshot: Snapshot, name: str, container: str = "", **options: Any) -> Path:
    chosen = next(each for each in FORMATS if each.name == name)
    job = start_export(
        snapshot=snapshot, file_format=name, container=container or chosen.containers[0], options=options, by=None
    )
    run_export(job.pk)
    job.refresh_from_db()
    assert job.status == "succeeded", job.error
    return file_of(job)


def lines_of(path: Path) -> list[str]:
    """The rows, whatever their order: it follows from where a prompt ends, which an implicit one does not say."""
    return sorted(path.read_text(encoding="utf-8").removesuffix("\n").split("\n"))


def brought(path: Path) -> Project:
    """A project that has only what the file says."""
    project = make_project()
    job = import_votes(project, path, name="again")
    assert job.status == "succeeded", (job.error, job.bad_rows[:3])
    return project


def judge_all(prompt_set: PromptSet) -> None:
    """Two answers to each prompt, and somebody who prefers the first."""
    arm, person = make_arm(prompt_set.project), make_annotator(prompt_set.project)
    campaign = make_campaign(prompt_set.project)
    for prompt in prompt_set.prompts.all():
        judge(make_task(campaign, [make_answer(arm, prompt, text) for text in ("yes", "no")]), person, "A")


def comes_back_whole(first: Snapshot, **options: Any) -> list[dict[str, Any]]:
    """The tasks of its full format, once they are known to come back to the byte, and the rows with the same hash."""
    path = exported(first, "whetstone", **FULL_OPTIONS)
    again = frozen(brought(path), **options)
    assert exported(again, "whetstone", **FULL_OPTIONS).read_bytes() == path.read_bytes()
    assert again.sha256 == first.sha256
    found = [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
    return [each for each in found if isinstance(each["campaign"], str)]
