"""A frozen dataset with everything in it, and its exports."""

from pathlib import Path
from typing import Any

import orjson

from annotation.models import Assignment, Judgement, Score
from tests.training.judged import (
    freeze,
    judge,
    make_annotator,
    make_answer,
    make_arm,
    make_campaign,
    make_project,
    make_prompt,
    make_set,
    make_task,
    make_version,
)
from training.exports.formats import format_named
from training.exports.options import Options
from training.exports.writing import write_export
from training.models import Snapshot
from training.snapshots import directory_of

ODD = ["naïve 日本 🙂", "two\nlines\r\n", "\u2028 separators \x85", "=1+1", "\u202eback \u2066x", ' "quoted", ']


def make_dataset(*, n_held_out: int = 2) -> Snapshot:
    """Eight pairs with two votes each and one ranking of three by one person; two models; a tie, a strength, a better answer."""
    project = make_project()
    one = make_arm(project, make_version(project, "policy-v2"))
    two = make_arm(project, make_version(project, "one-7b", kind="outside", source="One 7B"), job=one.job)
    ana, ben = make_annotator(project), make_annotator(project)
    campaign = make_campaign(project, strength_levels=3)
    prompts = make_set(project)
    for number in range(8):
        text = f"{ODD[number % len(ODD)]} {number}?"
        messages = (
            [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}] if number % 2 else None
        )
        fields: dict[str, Any] = {"messages": messages} if messages else {}
        prompt = make_prompt(
            prompts, text, split="holdout" if number >= 8 - n_held_out else "train", tags=["qa"], **fields
        )
        task = make_task(campaign, [make_answer(one, prompt, f"Good {text}"), make_answer(two, prompt, f"Bad {text}")])
        first = judge(task, ana, "A", strength=2, comment="=SUM(A1)", write_in=f"Better {number}", reasons=["clear"])
        Assignment.objects.filter(pk=first.assignment_id).update(display_order=[1, 0], opened_at=first.created_at)
        Score.objects.create(judgement=first, candidate=task.slots.first().candidate, criterion="tone", value=4)
        judge(task, ben, "tie" if number == 0 else "A")
    ranked = make_campaign(project, kind="rank")
    prompt = make_prompt(prompts, "Rank these")
    answers = [make_answer(one, prompt, text) for text in ("best", "middle", "worst")]
    judge(make_task(ranked, answers), ana, (1, 2, 3))
    assert Judgement.objects.filter(assignment__task__campaign__project=project).count() == 17
    return freeze(project, [campaign, ranked], pair_policy={"aggregation": "votes"})


def exported(snapshot: Snapshot, tmp_path: Path, name: str, container: str = "jsonl", **options: Any) -> Path:
    chosen = format_named(name)
    path = tmp_path / f"{name}-{options.get('split', 'train')}.{container}"
    write_export(
        directory_of(snapshot), path, export_format=chosen, container=container, options=Options(**options)
    )  # fmt: skip
    return path


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().split(b"\n") if line]
