"""Label Studio's side of the world, run by its own Python beside its own database: the same people and texts.

make N_TASKS N_PEOPLE < nothing      people, a session each, a pairwise project with its tasks
check PROJECT                        tasks that were judged more than once at its overlap of 1
"""

import json
import os
import sys

import django
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "core.settings.label_studio")
django.setup()

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY  # noqa: E402
from django.db.models import Count  # noqa: E402
from django.utils.module_loading import import_string  # noqa: E402
from organizations.models import Organization, OrganizationMember  # noqa: E402
from projects.models import Project  # noqa: E402
from tasks.models import Annotation, Task  # noqa: E402
from users.models import User  # noqa: E402


def make(n_tasks: int, n_people: int, path: str) -> dict:
    with open(path, encoding="utf-8") as file:
        given = json.load(file)
    users = []
    for number in range(n_people):
        email = f"person-{number}@example.org"
        user = User.objects.filter(email=email).first()
        if user is None:
            user = User.objects.create_user(email=email, password=None, username=f"person-{number}")
            organization = Organization.objects.first() or Organization.create_organization(
                created_by=user, title="Bench"
            )
            OrganizationMember.objects.get_or_create(user=user, organization=organization)
            user.active_organization = organization
            user.save()
        users.append(user)
    project = Project.objects.create(
        title=f"{n_tasks} tasks",
        label_config=given["label_config"],
        created_by=users[0],
        organization=users[0].active_organization,
        maximum_annotations=1,
    )
    rows = (
        Task(
            project=project,
            overlap=1,
            is_labeled=False,
            inner_id=n + 1,
            data={
                "prompt": f"{given['prompts'][n % len(given['prompts'])]} ({n})",
                "answer1": f"Answer {n}. {given['answers'][n % len(given['answers'])]}",
                "answer2": f"Answer {n}. {given['answers'][(n + 1) % len(given['answers'])]}",
            },
        )
        for n in range(n_tasks)
    )
    Task.objects.bulk_create(rows, batch_size=1000)
    cookies = []
    for user in users:
        session = import_string(f"{settings.SESSION_ENGINE}.SessionStore")()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        import time

        session["last_login"] = time.time()
        session.save()
        cookies.append({"sessionid": session.session_key})
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    return {"project": project.pk, "cookies": cookies}


def check(project: int) -> dict:
    judged = Annotation.objects.filter(project=project, was_cancelled=False)
    twice = judged.values("task").annotate(n=Count("id")).filter(n__gt=1)
    return {"n_submitted": judged.count(), "overlap exceeded": twice.count()}


what, *arguments = sys.argv[1:]
if what == "make":
    print(json.dumps(make(int(arguments[0]), int(arguments[1]), arguments[2])))
else:
    print(json.dumps(check(int(arguments[0]))))
