import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Role
from annotation.models import Campaign
from generation.models import ModelReveal
from loop.models import Round, RoundStep
from tests.annotation.builders import make_user
from tests.loop.builders import World

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


@pytest.fixture
def world() -> World:
    return World(n_prompts=3)


def client_of(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def url(world: World, name: str, *args) -> str:
    return reverse(f"loop:{name}", args=[world.project.slug, *args])


def test_a_researchers_home_is_the_round_board(world):
    client = client_of(world.ravi)
    assert client.get("/").headers["Location"] == url(world, "project")
    page = client.get(url(world, "project"))
    assert page.status_code == 200
    assert "Ready for the first round" in page.content.decode()


def test_an_annotators_home_is_their_work(world):
    ana = make_user("Ana", world.project, Role.ANNOTATOR)
    response = client_of(ana).get(url(world, "project"))
    assert response.status_code == 302
    assert response.headers["Location"].endswith("/annotate/")


def test_the_board_is_a_fragment_for_htmx_and_keeps_asking_while_something_moves(world):
    round_ = world.round()
    address, client = url(world, "round", round_.number), client_of(world.ravi)
    resting = client.get(address, headers=HTMX).content.decode()
    assert "<html" not in resting
    assert "hx-get" not in resting.split("</header>")[0]
    client.post(url(world, "step", round_.number, "generate"))
    assert 'hx-trigger="every 2s"' in client.get(address, headers=HTMX).content.decode()


@pytest.mark.parametrize("name", ["project", "rounds", "new_round"])
def test_strangers_find_nothing(world, name):
    olga = make_user("Olga")
    assert client_of(olga).get(url(world, name)).status_code == 404
    assert Client().get(url(world, name)).status_code == 302


def test_annotators_press_no_buttons(world):
    round_ = world.round()
    ana = client_of(make_user("Ana", world.project, Role.ANNOTATOR))
    assert ana.get(url(world, "round", round_.number)).status_code == 403
    assert ana.post(url(world, "step", round_.number, "generate")).status_code == 403
    assert ana.post(url(world, "abandon", round_.number), {"note": "x"}).status_code == 403
    assert not RoundStep.objects.exists()


@pytest.mark.parametrize("name", ["step", "reveal", "abandon"])
def test_buttons_are_posts(world, name):
    round_ = world.round()
    args = (round_.number, "generate") if name == "step" else (round_.number,)
    assert client_of(world.ravi).get(url(world, name, *args)).status_code == 405


def test_a_round_starts_from_the_form_with_its_defaults(world):
    client = client_of(world.ravi)
    page = client.get(url(world, "new_round"))
    form = page.context["form"]
    data = {name: form.initial.get(name, "") for name in form.fields if form.initial.get(name) is not False}
    response = client.post(url(world, "new_round"), {**data, "prompt_set": world.prompt_set.pk})
    assert response.status_code == 303
    assert Round.objects.get().plan["n_answers"] == 4


def test_a_bad_form_comes_back_with_what_to_put_right(world):
    response = client_of(world.ravi).post(url(world, "new_round"), {"n_prompts": "0"})
    assert response.status_code == 422
    assert "Please put this right" in response.content.decode()
    assert not Round.objects.exists()


def test_the_second_click_is_told_that_the_step_is_on_its_way(world):
    round_ = world.round()
    client = client_of(world.ravi)
    assert client.post(url(world, "step", round_.number, "generate")).status_code == 303
    second = client.post(url(world, "step", round_.number, "generate"))
    assert second.status_code == 409
    assert "on its way already" in second.content.decode()
    assert RoundStep.objects.count() == 1


@pytest.mark.parametrize("stage", ["prompts", "nothing"])
def test_unknown_stages_are_not_found(world, stage):
    round_ = world.round()
    assert client_of(world.ravi).post(url(world, "step", round_.number, stage)).status_code == 404


def test_the_board_names_no_model_until_the_reveal_which_is_recorded(world):
    round_ = world.round()
    client = client_of(world.ravi)
    client.post(url(world, "step", round_.number, "generate"))
    address = url(world, "round", round_.number)
    model = reverse("generation:model", args=[world.project.slug, world.base.key])
    assert model not in client.get(address).content.decode()
    assert not ModelReveal.objects.exists()
    client.post(url(world, "reveal", round_.number))
    assert model in client.get(address).content.decode()
    assert ModelReveal.objects.get().user == world.ravi


def test_a_round_that_was_given_up_names_no_model_while_its_answers_are_judged(world):
    round_ = world.round()
    client = client_of(world.ravi)
    client.post(url(world, "step", round_.number, "generate"))
    world.generated(round_.steps.get().job)
    client.post(url(world, "step", round_.number, "annotate"))
    client.post(url(world, "abandon", round_.number), {"note": "Wrong prompts"})
    model = reverse("generation:model", args=[world.project.slug, world.base.key])
    address = url(world, "round", round_.number)
    assert model not in client.get(address).content.decode()
    assert not ModelReveal.objects.exists()
    Campaign.objects.update(stage="closed")
    assert model in client.get(address).content.decode()
    assert ModelReveal.objects.get().user == world.ravi  # a later campaign over these answers must know


def test_giving_up_asks_for_a_reason(world):
    round_ = world.round()
    client = client_of(world.ravi)
    assert client.post(url(world, "abandon", round_.number), {"note": " "}).status_code == 422
    assert client.post(url(world, "abandon", round_.number), {"note": "Wrong prompts"}).status_code == 303
    round_.refresh_from_db()
    assert round_.status == Round.Status.ABANDONED


def test_a_round_of_another_project_is_not_found(world):
    other = World()
    other.round()
    assert client_of(world.ravi).get(url(other, "round", 1)).status_code == 404
    assert client_of(world.ravi).get(url(world, "round", 1)).status_code == 404


def test_the_toy_is_called_a_toy(world):
    world.project.is_demo = True
    world.project.save()
    assert "is a toy" in client_of(world.ravi).get(url(world, "project")).content.decode()
