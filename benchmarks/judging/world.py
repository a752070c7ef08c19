"""A project with people and a campaign of any size, made by the database itself, and the questions asked afterwards.

Run as a script beside a migrated database (it prints JSON): one process a database, as Django wants it.

    python -m benchmarks.judging.world make --tasks 1000 --overlap 1 --people 32
    python -m benchmarks.judging.world work --campaign KEY --person 0 --done 25000
    python -m benchmarks.judging.world check --campaign KEY
"""

import argparse
import json
import os
import sys
from typing import Any

PASSWORD = "a long password"


def make_project(n_people: int) -> dict[str, Any]:
    """People who are signed in: the cookies of each."""
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.utils.module_loading import import_string

    from accounts.models import Membership, Project, Role, User

    project, _ = Project.objects.get_or_create(slug="bench", defaults={"name": "Bench"})
    cookies = []
    for number in range(n_people):
        user, is_new = User.objects.get_or_create(username=f"person-{number}", defaults={"name": f"Person {number}"})
        if is_new:
            user.set_unusable_password()
            user.save()
            Membership.objects.create(project=project, user=user, **Membership.flags({Role.ANNOTATOR}))
        session = import_string(f"{settings.SESSION_ENGINE}.SessionStore")()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.save()
        cookies.append({settings.SESSION_COOKIE_NAME: session.session_key})
    return {"project": project.slug, "cookies": cookies}


def make_campaign(
    *, n_tasks: int, overlap: int, answers_each: int, options: dict[str, Any], n_people: int, with_maths: bool = False
) -> dict[str, Any]:
    """An open campaign of exactly ``n_tasks`` pairs; a prompt with k answers makes k * (k - 1) / 2 of them.

    The people have confirmed its guidelines.

    The first task is built by the app's own job, the others are copies of its rows with numbers and texts of their own.
    """
    from django.db import transaction

    from accounts.models import Project, User
    from annotation.building import build_tasks
    from annotation.campaigns import start_campaign
    from annotation.models import Campaign, ComparisonTask, Place, TaskCandidate
    from annotation.people import annotator_for
    from benchmarks.judging.texts import ANSWERS, MATHS, PROMPTS
    from core.ids import content_sha256, new_key, sha256_hex
    from generation.models import Candidate, GenerationJob, JobArm, ModelVersion, Prompt, PromptSet

    answers = MATHS if with_maths else ANSWERS
    project = Project.objects.get(slug="bench")
    name = f"{n_tasks} tasks, {new_key()}"
    per_prompt = answers_each * (answers_each - 1) // 2
    n_prompts = 1 + -(-(n_tasks - 1) // per_prompt)
    prompt_set = PromptSet.objects.create(project=project, name=name, n_prompts=n_prompts)
    messages = [{"role": "user", "content": PROMPTS[0]}]
    prompt = Prompt.objects.create(
        set=prompt_set, number=1, messages=messages, content_sha256=content_sha256(messages),
        group_sha256=sha256_hex(name), split="train",
    )  # fmt: skip
    model = ModelVersion.objects.create(project=project, slug=f"model-{new_key()}", kind="base")
    job = GenerationJob.objects.create(
        project=project, prompt_set=prompt_set, status="succeeded", prompt_ids=[prompt.pk]
    )
    arm = JobArm.objects.create(job=job, number=0, model_version=model)
    for index in range(2):
        text = f"{index + 1}: {answers[index]}"
        Candidate.objects.create(arm=arm, prompt=prompt, index=index, text=text, text_sha256=sha256_hex(text))
    campaign = start_campaign(
        project=project, name=name, jobs=[job], pairing={"pairs": "within"}, overlap=overlap, options=options, by=None
    )
    build_tasks(campaign)
    task = ComparisonTask.objects.get(campaign=campaign)
    with transaction.atomic():
        first_prompt = multiply(
            prompt, n_prompts - 1,
            key="{key}", number="{n} + 1", content_sha256="{key}", group_sha256="{key}", random="{n}",
            messages=json_of_prompt(PROMPTS),
        )  # fmt: skip
        first_candidate = multiply(
            Candidate.objects.get(arm=arm, index=0), (n_prompts - 1) * answers_each,
            key="{key}", index=f"({{n}} - 1) % {answers_each}", text=text_of(answers),
            prompt_id=f"{first_prompt} + ({{n}} - 1) / {answers_each}",
        )  # fmt: skip
        n_more = n_tasks - 1
        first_task = multiply(
            task, n_more,
            key="{key}", candidates_sha256="{key}", position="{random}", prompt_id=f"{first_prompt} + ({{n}} - 1) / {per_prompt}",
        )  # fmt: skip
        pairs = [(a, b) for a in range(answers_each) for b in range(a + 1, answers_each)]
        for slot in range(2):
            row = TaskCandidate.objects.get(task=task, slot=slot)
            place = " ".join(f"WHEN {number} THEN {pair[slot]}" for number, pair in enumerate(pairs))
            multiply(
                row, n_more,
                task_id=f"{first_task} + {{n}} - 1",
                candidate_id=f"{first_candidate} + (({{n}} - 1) / {per_prompt}) * {answers_each}"
                f" + CASE ({{n}} - 1) % {per_prompt} {place} END",
            )  # fmt: skip
        Campaign.objects.filter(pk=campaign.pk).update(n_tasks=n_tasks)
    for user in User.objects.filter(username__startswith="person-").order_by("pk")[:n_people]:
        version = campaign.guidelines_version
        Place.objects.create(annotator=annotator_for(user, project), campaign=campaign, guidelines_version=version)
    analyse()
    return {"campaign": campaign.key, "n_tasks": n_tasks, "overlap": overlap, "n_answers_a_prompt": answers_each}


def text_of(answers: tuple[str, ...]) -> str:
    cases = " ".join(f"WHEN {number} THEN {quoted(text)}" for number, text in enumerate(answers))
    return f"'Answer ' || ({{n}} + 1) || '. ' || CASE {{n}} % {len(answers)} {cases} END"


def json_of_prompt(prompts: tuple[str, ...]) -> str:
    cases = " ".join(
        f"WHEN {number} THEN {quoted(json.dumps([{'role': 'user', 'content': text + ' (NUMBER)'}]))}"
        for number, text in enumerate(prompts)
    )
    return f"replace(CASE {{n}} % {len(prompts)} {cases} END, 'NUMBER', '' || {{n}}){{json}}"


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''").replace("{", "{{").replace("}", "}}") + "'"


def multiply(row: Any, n: int, **expressions: str) -> int:
    """``n`` copies of a row by one INSERT ... SELECT; the id of the first.

    expressions  SQL for single columns, where {n} counts from 1, {key} is a new key and {random} a random number
    """
    from django.db import connection

    if n < 1:
        return 0
    model = type(row)
    is_postgres = connection.vendor == "postgresql"
    table, quote = model._meta.db_table, connection.ops.quote_name
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT coalesce(max(id), 0) + 1 FROM {quote(table)}")
        first = cursor.fetchone()[0]
        words = {
            "n": "numbers.n",
            "key": "substr(md5(random()::text || numbers.n), 1, 12)" if is_postgres else "lower(hex(randomblob(6)))",
            "random": "floor(random() * 2147483647)::bigint" if is_postgres else "abs(random() % 2147483647)",
            "json": "::jsonb" if is_postgres else "",
        }
        columns, values = ["id"], [f"{first} + numbers.n - 1"]
        for field in model._meta.concrete_fields:
            if field.primary_key or field.generated:
                continue
            columns.append(field.column)
            given = expressions.get(field.column) or expressions.get(field.name)
            values.append(given.format(**words) if given else f"it.{quote(field.column)}")
        numbers = f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {n})"
        if is_postgres:
            numbers = f"WITH numbers AS (SELECT generate_series(1, {n})::bigint AS n)"
        cursor.execute(
            f"{numbers if is_postgres else ''} INSERT INTO {quote(table)} ({', '.join(map(quote, columns))}) "
            f"{'' if is_postgres else numbers} SELECT {', '.join(values)} FROM {quote(table)} it, numbers WHERE it.id = {row.pk}"
        )
        if is_postgres:
            cursor.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) FROM {quote(table)}")
    return int(first)


def analyse() -> None:
    """What autovacuum would do within a minute."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE" if connection.in_atomic_block or connection.vendor == "sqlite" else "VACUUM ANALYZE")


def add_work(campaign_key: str, number: int, n_done: int) -> dict[str, Any]:
    """Let one person have judged the first ``n_done`` tasks in line, as the judgements would have left them."""
    from django.db import connection, transaction
    from django.db.models import F

    from accounts.models import Project, User
    from annotation.models import Assignment, Campaign, ComparisonTask, Judgement, Place
    from annotation.people import annotator_for

    campaign = Campaign.objects.get(key=campaign_key)
    annotator = annotator_for(User.objects.get(username=f"person-{number}"), Project.objects.get(slug="bench"))
    Place.objects.get_or_create(annotator=annotator, campaign=campaign)
    mine = Assignment.objects.filter(annotator=annotator, task__campaign=campaign)
    rows = (
        ComparisonTask.objects.filter(campaign=campaign, is_free=True)
        .exclude(pk__in=mine.values("task"))
        .order_by("line")
    )
    template = mine.filter(status="submitted").exclude(current=None).first()
    if template is None:
        raise SystemExit("The person has to have judged one task: its rows are what is copied.")
    n_more = n_done - mine.filter(status="submitted").count()
    if n_more <= 0:
        return {"n_done": mine.count()}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE chosen (n integer PRIMARY KEY, task_id bigint)")
        sql, parameters = rows.values_list("id")[:n_more].query.sql_with_params()
        cursor.execute(f"INSERT INTO chosen SELECT row_number() OVER (), it.id FROM ({sql}) AS it", parameters)
        task_of = "(SELECT task_id FROM chosen WHERE chosen.n = numbers.n)"
        seat_of = f"(SELECT n_taken FROM {ComparisonTask._meta.db_table} t WHERE t.id = {task_of})"
        first = multiply(template, n_more, key="{key}", task_id=task_of, seat=seat_of)
        current = template.current
        assert current is not None
        first_said = multiply(current, n_more, key="{key}", assignment_id=f"{first} + {{n}} - 1")
        cursor.execute(
            f"UPDATE {Assignment._meta.db_table} SET current_id = id - {first} + {first_said} WHERE id >= {first}"
        )
        done = ComparisonTask.objects.extra(where=["annotation_comparisontask.id IN (SELECT task_id FROM chosen)"])
        hand = done.order_by("-line").values_list("line", flat=True)[0]
        done.update(n_taken=F("n_taken") + 1, n_submitted=F("n_submitted") + 1)
        Place.objects.filter(annotator=annotator, campaign=campaign).update(
            hand=hand, n_submitted=F("n_submitted") + n_more
        )
        cursor.execute("DROP TABLE chosen")
    assert (
        Judgement.objects.filter(assignment__annotator=annotator, assignment__task__campaign=campaign).count() >= n_done
    )
    analyse()
    return {"n_done": mine.count()}


def check(campaign_key: str) -> dict[str, Any]:
    """What must never be: each count but ``n_submitted`` and ``n_judgements`` is 0 where all went well."""
    from django.db import connection

    from annotation.models import Campaign

    campaign = Campaign.objects.get(key=campaign_key)
    questions = {
        "n_submitted": "SELECT count(*) FROM annotation_assignment a JOIN annotation_comparisontask t ON t.id = a.task_id "
        "WHERE t.campaign_id = %s AND a.status = 'submitted'",
        "n_judgements": "SELECT count(*) FROM annotation_judgement j JOIN annotation_assignment a ON a.id = j.assignment_id "
        "JOIN annotation_comparisontask t ON t.id = a.task_id WHERE t.campaign_id = %s",
        "overlap exceeded": "SELECT count(*) FROM (SELECT a.task_id FROM annotation_assignment a JOIN annotation_comparisontask t "
        "ON t.id = a.task_id WHERE t.campaign_id = %s AND a.purpose = 'work' AND a.status IN ('open', 'parked', 'submitted') "
        "GROUP BY a.task_id, t.seats HAVING count(*) > t.seats) x",
        "judged twice by one person": "SELECT count(*) FROM (SELECT a.task_id, a.annotator_id FROM annotation_judgement j "
        "JOIN annotation_assignment a ON a.id = j.assignment_id JOIN annotation_comparisontask t ON t.id = a.task_id "
        "WHERE t.campaign_id = %s GROUP BY a.task_id, a.annotator_id HAVING count(*) > 1) x",
        "one seat, two people": "SELECT count(*) FROM (SELECT a.task_id, a.seat FROM annotation_assignment a "
        "JOIN annotation_comparisontask t ON t.id = a.task_id WHERE t.campaign_id = %s AND a.seat IS NOT NULL "
        "AND a.status IN ('open', 'parked', 'submitted') GROUP BY a.task_id, a.seat HAVING count(*) > 1) x",
        "two open tasks in one hand": "SELECT count(*) FROM (SELECT a.annotator_id FROM annotation_assignment a "
        "JOIN annotation_comparisontask t ON t.id = a.task_id WHERE t.campaign_id = %s AND a.status = 'open' "
        "AND a.opened_at IS NOT NULL GROUP BY a.annotator_id HAVING count(*) > 1) x",
        "counter off": "SELECT count(*) FROM annotation_comparisontask t LEFT JOIN (SELECT task_id, "
        "count(*) AS taken, sum(CASE WHEN status = 'submitted' THEN 1 ELSE 0 END) AS submitted FROM annotation_assignment "
        "WHERE purpose = 'work' AND status IN ('open', 'parked', 'submitted') GROUP BY task_id) a ON a.task_id = t.id "
        "WHERE t.campaign_id = %s AND (t.n_taken <> coalesce(a.taken, 0) OR t.n_submitted <> coalesce(a.submitted, 0))",
        "submitted without its judgement": "SELECT count(*) FROM annotation_assignment a JOIN annotation_comparisontask t "
        "ON t.id = a.task_id LEFT JOIN annotation_judgement j ON j.id = a.current_id AND j.assignment_id = a.id "
        "WHERE t.campaign_id = %s AND a.status = 'submitted' AND j.id IS NULL",
    }
    found = {}
    with connection.cursor() as cursor:
        for name, sql in questions.items():
            cursor.execute(sql, [campaign.pk])
            found[name] = cursor.fetchone()[0]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["people", "make", "work", "check"])
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--overlap", type=int, default=1)
    parser.add_argument("--answers", type=int, default=2, help="a prompt; each pair of them is a task")
    parser.add_argument("--people", type=int, default=1)
    parser.add_argument("--options", type=json.loads, default={}, help="of the campaign, as JSON")
    parser.add_argument("--maths", action="store_true", help="answers with formulas")
    parser.add_argument("--campaign", default="")
    parser.add_argument("--person", type=int, default=0)
    parser.add_argument("--done", type=int, default=0)
    given = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()
    if given.what == "people":
        answer = make_project(given.people)
    elif given.what == "make":
        answer = make_campaign(
            n_tasks=given.tasks,
            overlap=given.overlap,
            answers_each=given.answers,
            options=given.options,
            n_people=given.people,
            with_maths=given.maths,
        )
    elif given.what == "work":
        answer = add_work(given.campaign, given.person, given.done)
    else:
        answer = check(given.campaign)
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
