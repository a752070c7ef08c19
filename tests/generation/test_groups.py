"""Which side of the border a group lies on, as the project has it."""

import pytest
from django.db import connection

from accounts.models import Project
from core.bulk import among
from core.ids import sha256_hex
from core.jobs import JobStatus
from generation.groups import Groups
from generation.models import Prompt, PromptImport, PromptSet

pytestmark = pytest.mark.django_db
GROUP = sha256_hex("a group")


def keep(project: Project, name: str, split: str, status: str = JobStatus.SUCCEEDED) -> None:
    prompts = PromptSet.objects.create(project=project, name=name)
    brought_by = PromptImport.objects.create(set=prompts, status=status)
    Prompt.objects.create(
        set=prompts, number=1, messages=[], content_sha256=sha256_hex(name), group_sha256=GROUP, split=split, brought_by=brought_by
    )  # fmt: skip


def side_of(project: Project) -> str:
    with Groups(project.pk) as groups:
        return groups.splits([GROUP])[GROUP]


@pytest.mark.parametrize("split", ["train", "holdout"])
def test_a_group_stays_where_the_project_has_it(split: str):
    mine = Project.objects.create(slug="mine", name="Mine")
    keep(mine, "earlier", split)
    assert side_of(mine) == split


@pytest.mark.parametrize("split", ["train", "holdout"])
def test_another_project_and_an_import_that_has_not_ended_say_nothing(split: str):
    mine, other = (Project.objects.create(slug=name, name=name) for name in ("mine", "other"))
    by_hash = side_of(mine)
    keep(other, "elsewhere", split)
    keep(mine, "on its way", split, JobStatus.RUNNING)
    assert side_of(mine) == by_hash


@pytest.mark.sqlite
def test_groups_are_looked_up_one_by_one_however_many_prompts_there_are():
    sql, values = among(Prompt.objects.all(), "group_sha256", [GROUP]).values_list("pk").query.sql_with_params()
    with connection.cursor() as cursor:
        plan = [row[3] for row in cursor.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()]
    assert "(group_sha256=?)" in plan[0], plan
