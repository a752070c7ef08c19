"""Blind means blind at the level of bytes: nothing sent to an annotator depends on the model, save the answer's text (group B).

T030, T033, T039, T040, T042 and T046 stand beside what they are about: test_pages, test_campaigns, test_pairs, test_texts and
test_annotate_in_browser. Answers are plain text here, so there are no files of theirs to name a model (T041).
"""

import random
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import Role, User
from annotation.assign import next_assignment
from annotation.models import Assignment, Campaign, TaskCandidate
from annotation.people import annotator_for
from generation.models import Candidate, Deployment, Endpoint, GenerationJob, JobArm, ModelReveal, ModelVersion
from tests.accounts.builders import HTMX
from tests.annotation.builders import make_campaign, make_candidates, make_model, make_project, make_prompts, make_user
from tests.annotation.classifier import accuracy, most_by_chance
from tests.permissions.expected import PROJECT
from tests.permissions.test_sweep import as_user, ask, expected_of, filled
from tests.permissions.world import World

pytestmark = pytest.mark.django_db
TEXT = re.compile(rb"(?:short|a rather long answer that goes on)-\d+x")
FORGERY = re.compile(rb'name="csrfmiddlewaretoken" value="[^"]*"|"X-CSRFToken": "[^"]*"')


class TwoModels:
    """A campaign in which a terse and a wordy model meet, in a fresh project; every trait but the text differs too."""

    def __init__(self, n_tasks: int) -> None:
        self.project = make_project()
        self.models = [make_model(self.project, "canary-model-a"), make_model(self.project, "canary-model-b")]
        prompts = make_prompts(self.project, n_tasks)
        job = GenerationJob.objects.create(
            project=self.project,
            prompt_set=prompts[0].set,
            status="succeeded",
            prompt_ids=[prompt.pk for prompt in prompts],
        )
        words = ("short", "a rather long answer that goes on")
        for number, model in enumerate(self.models):
            arm = JobArm.objects.create(job=job, number=number, model_version=model)
            for index, prompt in enumerate(prompts):
                made = make_candidates(arm, prompt, [f"{words[number]}-{index}x"])
                Candidate.objects.filter(pk=made[0].pk).update(
                    finish_reason=("stop", "length")[number], n_completion_tokens=(7, 987_654)[number], latency_seconds=(0.1, 43.21)[number]
                )  # fmt: skip
        self.campaign: Campaign = make_campaign(self.project, job=job, pairing={"pairs": "across"})
        assert self.campaign.n_tasks == n_tasks
        self.ana: User = make_user("Ana", self.project, Role.ANNOTATOR)
        self.client = Client()
        self.client.force_login(self.ana)
        self.start = f"/p/{self.project.slug}/annotate/campaign/{self.campaign.key}/"

    def pages(self) -> Iterator[tuple[bytes, bool]]:
        """(headers and body without texts, whether A is of the first model) of every task, as the browser gets them in turn."""
        response = self.client.post(self.start, headers=HTMX)
        while url := response.headers.get("HX-Replace-Url"):
            if url == self.start:
                return
            head = b"\n".join(
                f"{name}: {value}".encode() for name, value in sorted(response.items()) if name != "Content-Length"
            )
            page = FORGERY.sub(b"", TEXT.sub(b"TEXT", head + b"\n\n" + response.content))
            assert b"TEXT" in page and not TEXT.search(page)
            yield page, self.is_first_model_at_a(url)
            response = self.client.post(url, {"choice": "tie", "active": "5", "open": "5"}, headers=HTMX)

    def is_first_model_at_a(self, url: str) -> bool:
        turn = Assignment.objects.get(key=url.rstrip("/").rsplit("/", 1)[1])
        slots = dict(TaskCandidate.objects.filter(task=turn.task).values_list("slot", "candidate__arm__model_version"))
        return slots[turn.display_order[0]] == self.models[0].pk


def told_apart(n_tasks: int) -> None:
    pages, labels = zip(*TwoModels(n_tasks).pages(), strict=True)
    assert len(pages) == n_tasks
    assert accuracy(pages, labels) <= most_by_chance(n_tasks)
    # The twin that must be seen: one attribute, one length, one header that depend on the model.
    for leak in (b'<i data-m="%d"></i>', b"%d" * 40, b"\nETag: %d"):
        leaky = [
            page + (leak.replace(b"%d", b"1") if label else leak.replace(b"%d", b"22"))
            for page, label in zip(pages, labels, strict=True)
        ]
        assert accuracy(leaky, labels) > 0.85


def test_t032_a_classifier_cannot_tell_the_models_apart() -> None:
    told_apart(160)


@pytest.mark.slow
@pytest.mark.sqlite  # what is sent does not depend on the database, and this takes its time
def test_t032_a_classifier_cannot_tell_the_models_apart_over_many_tasks() -> None:
    told_apart(600)


def test_the_classifier_sees_what_there_is_to_see() -> None:
    """A harness that cannot fail proves nothing: it is right where one byte tells, and a coin where none does."""
    coin = random.Random(7)
    labels = [coin.random() < 0.5 for _ in range(400)]
    noise = [bytes(f"page {coin.random()} of {coin.randrange(10**9)}", "ascii") for _ in labels]
    assert accuracy(noise, labels) <= most_by_chance(400)
    assert (
        accuracy([page + (b" x" if label else b" y") for page, label in zip(noise, labels, strict=True)], labels) > 0.99
    )
    assert accuracy([b"the same"] * 400, labels) == 0.5


# ---- every route -------------------------------------------------------------------------------------------------------


def names_of_models(world: World) -> list[str]:
    """Everything by which the project knows its models, and what was noted when they answered."""
    project = world.project
    versions = ModelVersion.objects.filter(project=project)
    names = [value for row in versions.values_list("slug", "key", "artifact_sha256", "source") for value in row]
    names += [
        value
        for row in Deployment.objects.filter(project=project).values_list("key", "served_name", "alias")
        for value in row
    ]
    names += list(GenerationJob.objects.filter(project=project).values_list("key", flat=True))
    names += list(Candidate.objects.filter(arm__job__project=project).values_list("key", flat=True))
    names += list(Endpoint.objects.filter(deployments__project=project).values_list("base_url", flat=True))
    return [name for name in names if name and len(name) > 4]


@pytest.mark.parametrize("kind", [{}, HTMX])
def test_t031_no_route_that_an_annotator_reaches_names_a_model(kind: dict[str, str]) -> None:
    world = World()
    names = names_of_models(world)
    assert len(names) > 20
    client, n_pages = as_user(world.members["A"]), 0
    for address in PROJECT:
        for method, roles in expected_of(address).items():
            url = filled(address, world)
            response = ask(client, method, url, address, **kind)
            if "A" in roles and response.status_code != 404:
                n_pages += 1
            said = b"".join(
                [
                    response.content,
                    *(f"{name}: {value}\n".encode() for name, value in response.items()),
                    str(response.cookies).encode(),
                ]
            )
            found = [name for name in names if name.encode() in said and name not in url]
            assert not found, f"{method} {address}: {found}"
    assert n_pages > 25


def test_t035_guessing_finds_nothing() -> None:
    world = World()
    client = as_user(world.members["A"])
    candidate = Candidate.objects.filter(arm__job__project=world.project)[0]
    for below in ("candidate", "candidates", "generation", "generate", "model", "models", "answers", "arms"):
        for key in (
            candidate.pk,
            candidate.pk + 1,
            candidate.key,
            candidate.arm.model_version.key,
            candidate.arm.job.key,
        ):
            for root in ("", f"p/{world.project.slug}/", f"p/{world.project.slug}/annotate/", "api/v1/"):
                assert ask(client, "GET", f"/{root}{below}/{key}/").status_code in (401, 403, 404)


# ---- one task ----------------------------------------------------------------------------------------------------------


def body(response: Any) -> bytes:
    return FORGERY.sub(b"", response.content)


def test_t034_ids_on_a_page_are_of_the_person_and_not_of_the_answer() -> None:
    world = TwoModels(1)
    Campaign.objects.update(overlap=2)
    world.campaign.tasks.update(seats=2)
    ben = make_user("Ben", world.project, Role.ANNOTATOR)
    keys = set()
    for user in (world.ana, ben):
        turn = next_assignment(annotator_for(user, world.project), world.campaign)
        client = Client()
        client.force_login(user)
        page = client.get(f"/p/{world.project.slug}/annotate/{turn.key}/").content.decode()
        keys.add(turn.key)
        for candidate in Candidate.objects.filter(arm__job__project=world.project):
            assert candidate.key not in page and candidate.text_sha256 not in page
        assert turn.task.key not in page and turn.task.candidates_sha256 not in page
        assert set(re.findall(r'data-answer="(\w+)"', page)) == {"a", "b"}
    assert len(keys) == 2


def main_part(response: Any) -> bytes:
    """Without the frame, which holds the address to come back to, and the seconds that the lease has left."""
    return re.sub(rb'data-lease="\d+"', b"", body(response).split(b"<main")[1].split(b"</main>")[0])


def test_t036_nothing_can_be_filtered_sorted_or_searched_by_the_model() -> None:
    world = TwoModels(3)
    turn = next_assignment(annotator_for(world.ana, world.project), world.campaign)
    pages = (world.start, f"/p/{world.project.slug}/annotate/", f"/p/{world.project.slug}/annotate/{turn.key}/")
    tries = ("model=canary-model-a", "ordering=-candidate__arm__model_version__slug", "task__slots__candidate__arm=1", "_connector=OR 1=1",
             "fields=model", "created_at__gt=2000", "run=1", "score=9", "user__password__startswith=p")  # fmt: skip
    for page in pages:
        plain = main_part(world.client.get(page))
        for query in tries:
            assert main_part(world.client.get(f"{page}?{query}")) == plain


def test_t037_answers_come_from_storage_alike_for_every_model() -> None:
    """Never streamed from an engine, and by the same queries whoever wrote them: there is no time to measure."""
    world = TwoModels(6)
    me = annotator_for(world.ana, world.project)
    turn = next_assignment(me, world.campaign)
    counts = set()
    for _ in range(5):
        url = f"/p/{world.project.slug}/annotate/{turn.key}/"
        with CaptureQueriesContext(connection) as queries:
            response = world.client.get(url)
        assert not response.streaming
        counts.add((world.is_first_model_at_a(url), len(queries)))
        world.client.post(url, {"choice": "a"})
        turn = next_assignment(me, world.campaign)
    assert len({n_queries for _, n_queries in counts}) == 1


def test_t038_how_an_answer_ended_is_never_said() -> None:
    world = TwoModels(1)
    turn = next_assignment(annotator_for(world.ana, world.project), world.campaign)
    url = f"/p/{world.project.slug}/annotate/{turn.key}/"
    before = body(world.client.get(url))
    assert b"987654" not in before and b"43.21" not in before and b"truncated" not in before
    Candidate.objects.update(finish_reason="stop", n_completion_tokens=1, latency_seconds=0, seed=77)
    assert body(world.client.get(url)) == before


def test_t043_no_shared_cache_gives_one_person_the_page_of_another() -> None:
    world = TwoModels(2)
    ben = make_user("Ben", world.project, Role.ANNOTATOR)
    client = Client()
    client.force_login(ben)
    turns = {user: next_assignment(annotator_for(user, world.project), world.campaign) for user in (world.ana, ben)}
    assert turns[world.ana].key != turns[ben].key
    for address in (world.start, f"/p/{world.project.slug}/annotate/{turns[world.ana].key}/"):
        response = world.client.get(address)
        assert "no-store" in response.headers["Cache-Control"]
        assert "Cookie" in response.headers["Vary"] and "HX-Request" in response.headers["Vary"]
    assert client.get(f"/p/{world.project.slug}/annotate/{turns[world.ana].key}/").status_code == 404


def test_t044_a_deployment_changes_nothing_that_annotators_see() -> None:
    world = TwoModels(2)
    pages = (world.start, f"/p/{world.project.slug}/annotate/", f"/p/{world.project.slug}/")
    before = [body(world.client.get(page, follow=True)) for page in pages]
    endpoint = Endpoint.objects.create(name="new", engine="vllm", base_url="http://127.0.0.1:1", state="ready")
    for version in [*world.models, make_model(world.project, "brand-new")]:
        Deployment.objects.create(project=world.project, endpoint=endpoint, model_version=version, alias=f"x{version.pk}",
                                  served_name=f"s{version.pk}", stage="live", status="succeeded")  # fmt: skip
    assert [body(world.client.get(page, follow=True)) for page in pages] == before


@pytest.mark.parametrize("role", [Role.REVIEWER, Role.RESEARCHER])
def test_t045_who_reviews_is_blind_until_they_reveal_and_it_is_written_down(role: Role) -> None:
    world = TwoModels(2)
    turn = next_assignment(annotator_for(world.ana, world.project), world.campaign)
    world.client.post(f"/p/{world.project.slug}/annotate/{turn.key}/", {"choice": "a"})
    client = Client()
    client.force_login(make_user("Rita", world.project, role))
    root = f"/p/{world.project.slug}/campaigns/{world.campaign.key}/"
    for page in ("", "judgements/", "people/", "practice/", "guidelines/", "rulings/"):
        assert b"canary" not in client.get(root + page).content, page
    assert not ModelReveal.objects.exists()
    assert client.post(root + "reveal/").status_code == 303
    assert b"canary-model-a" in client.get(root).content
    assert ModelReveal.objects.get().user.name == "Rita"


def test_t045_a_person_of_one_role_only_reveals_nothing() -> None:
    world = TwoModels(1)
    with transaction.atomic():
        response = world.client.post(f"/p/{world.project.slug}/campaigns/{world.campaign.key}/reveal/")
    assert response.status_code == 403
    assert not ModelReveal.objects.exists()


def test_the_order_of_tasks_says_nothing_of_when_their_answers_were_written() -> None:
    world = TwoModels(40)
    lines = list(world.campaign.tasks.order_by("line").values_list("prompt__number", flat=True))
    rises = sum(one < other for one, other in pairwise(lines))
    assert 6 < rises < 33  # of 39; a fair shuffle is outside once in a million
