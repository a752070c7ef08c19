"""The pages of a live campaign: what a person sees at each step, what is never shown, and who may open them."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from accounts.models import Role
from annotation import questions
from annotation.campaign_templates import TEMPLATES
from annotation.campaigns import pause_campaign
from annotation.live_standing import standing_of
from annotation.live_turns import answer_turn
from annotation.models import Campaign, Conversation, Question, Turn
from annotation.people import annotator_for
from annotation.protocol import Protocol
from generation import sampling_run
from generation.models import Deployment, GenerationJob
from generation.sampling_run import run_generation
from tests.annotation.builders import make_project, make_user
from tests.annotation.live_world import WORDS, Writer, make_deployment, make_live
from tests.generation.stub_vllm import StubVllm

pytestmark = pytest.mark.django_db(transaction=True)
HTMX = {"HTTP_HX_REQUEST": "true"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.jobs._send", lambda job: None)
    monkeypatch.setattr("annotation.live._send", lambda turn: None)
    for name in ("FIRST_PAUSE_SECONDS", "LONGEST_PAUSE_SECONDS", "FLUSH_SECONDS", "SHORTEST_PROBE_SECONDS"):
        monkeypatch.setattr(sampling_run, name, 0.02)
    monkeypatch.setattr(sampling_run, "BEAT_SECONDS", 0.05)


@pytest.fixture
def stub() -> Iterator[StubVllm]:
    with StubVllm() as server:
        yield server


class Desk:
    """Ana at a browser without JavaScript, or (``htmx=True``) with it."""

    def __init__(self, campaign: Campaign, name: str = "Ana", role: Role = Role.ANNOTATOR) -> None:
        self.campaign, self.project = campaign, campaign.project
        self.user = make_user(name, self.project, role)
        self.client = Client()
        self.client.force_login(self.user)
        self.root = f"/p/{self.project.slug}/annotate/live/{campaign.key}/"
        self.start = f"/p/{self.project.slug}/annotate/campaign/{campaign.key}/"

    @property
    def talk(self) -> Conversation:
        return Conversation.objects.get(annotator__user=self.user, status="open")

    @property
    def url(self) -> str:
        return f"{self.root}{self.talk.key}/"

    def post(self, below: str = "", htmx: bool = False, **fields: Any) -> Any:
        return self.client.post(f"{self.url}{below}", fields, **(HTMX if htmx else {}))

    def get(self, htmx: bool = False, query: str = "") -> Any:
        return self.client.get(f"{self.url}{query}", **(HTMX if htmx else {}))

    def text(self, response: Any) -> str:
        return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())

    def answer(self) -> None:
        answer_turn(Turn.objects.latest("pk").pk, run_generation)


@pytest.fixture
def ana(stub: StubVllm) -> Desk:
    return Desk(make_live(stub, guidelines="Write about cooking."))


def begun(desk: Desk) -> Desk:
    """Guidelines confirmed, a conversation open."""
    desk.client.post(desk.start, {"confirms": "1"})
    desk.client.post(desk.root)
    return desk


def test_the_way_through_one_turn_without_javascript(ana: Desk) -> None:
    first = ana.client.get(ana.root, follow=True)
    assert first.redirect_chain[-1][0] == ana.start
    assert "Write about cooking." in ana.text(first)
    assert "I have read the guidelines" in ana.text(first)
    start = ana.client.post(ana.start, {"confirms": "1"}, follow=True)
    assert "Start a conversation" in ana.text(start)
    assert "Write about cooking." in ana.text(start)
    assert Conversation.objects.count() == 0  # opening a page begins nothing
    written = ana.client.post(ana.root, follow=True)
    assert "Your first message" in ana.text(written)
    waiting = ana.client.post(ana.url, {"number": "1", "text": WORDS}, follow=True)
    assert "Two answers are being written" in ana.text(waiting)
    assert 'http-equiv="refresh"' in waiting.content.decode()
    ana.answer()
    judging = ana.client.get(ana.url, follow=True)
    assert "base says" in ana.text(judging)
    key = judging.redirect_chain[-1][0].rstrip("/").rpartition("/")[2]
    after = ana.client.post(f"/p/{ana.project.slug}/annotate/{key}/", {"choice": "a"}, follow=True)
    assert "Your next message" in ana.text(after)
    assert "You found it better than the other answer" in ana.text(after)
    assert after.redirect_chain[-1][0] == ana.url


def test_a_sensitive_campaign_is_agreed_to_first(stub: StubVllm) -> None:
    ana = Desk(make_live(stub, is_sensitive=True))
    asked = ana.client.get(ana.root, follow=True)
    assert "This campaign can disturb" in ana.text(asked)
    assert ana.client.post(ana.root).status_code == 422
    assert Conversation.objects.count() == 0
    agree = f"/p/{ana.project.slug}/annotate/campaign/{ana.campaign.key}/agree/"
    agreed = ana.client.post(agree, {"agrees": "1"}, follow=True)
    assert "Start a conversation" in ana.text(agreed)
    ana.client.post(ana.root)
    url = ana.url
    ana.client.post(agree, {"agrees": "0"})
    assert "Something comes first" in ana.text(ana.client.get(url))
    kept = ana.client.post(url, {"number": "1", "text": "Do not lose this"})
    assert kept.status_code == 422
    assert "Do not lose this" in ana.text(kept)


def test_caps_and_audience_hold_before_anything_is_written(stub: StubVllm) -> None:
    ana = Desk(make_live(stub, cap_per_day=1))
    begun(ana)
    ana.post(number="1", text=WORDS)
    ana.answer()
    judge(ana, "a")
    assert "as one person may in a day" in ana.text(ana.get())
    assert ana.post(number="2", text="More").status_code == 422
    assert Turn.objects.count() == 1
    Campaign.objects.update(audience={"groups": ["chemists"]}, cap_per_day=None)
    assert "This campaign is for other people." in ana.text(ana.get())


def test_the_waiting_page_asks_by_itself_and_changes_only_with_news(ana: Desk) -> None:
    begun(ana)
    waiting = ana.post(htmx=True, number="1", text=WORDS)
    assert waiting.headers["HX-Replace-Url"] == ana.url
    asks = re.search(r'hx-get="([^"]+)"', waiting.content.decode())
    assert asks is not None
    assert ana.client.get(asks[1], **HTMX).status_code == 204
    ana.answer()
    news = ana.client.get(asks[1], **HTMX)
    assert "Both answers are there." in ana.text(news)
    assert re.search(r"/annotate/[a-z2-9]{12}/$", news.headers["HX-Replace-Url"])


def test_nothing_that_is_sent_while_waiting_speaks_of_the_models(ana: Desk, stub: StubVllm) -> None:
    begun(ana)
    before = ana.post(number="1", text=WORDS) and ana.get().content
    job = GenerationJob.objects.get(turns__isnull=False)
    GenerationJob.objects.filter(pk=job.pk).update(step=1, status="running", message="vLLM is busy at arm B")
    after = ana.get().content
    for page in (before, after):
        lower = page.decode().lower()
        for word in ("model-0", "base::", "vllm", "arm b", "0.5", "1 of 2", job.key):
            assert word not in lower
    assert "takes longer than usual" in ana.text(ana.get())


def test_two_tabs_show_the_same_turn(ana: Desk) -> None:
    begun(ana)
    ana.client.post(ana.root)
    assert Conversation.objects.count() == 1
    ana.post(number="1", text=WORDS)
    ana.post(number="1", text=WORDS)
    assert Turn.objects.count() == 1
    other = ana.post(number="1", text="Something else that took long to write")
    assert other.status_code == 409
    assert "another tab" in ana.text(other)
    assert "Something else that took long to write" in ana.text(other)
    ana.answer()
    late = ana.post(number="2", text="Too early")
    assert late.status_code == 409
    assert "Too early" in ana.text(late)


def test_what_cannot_be_sent_stays_in_the_field(ana: Desk) -> None:
    begun(ana)
    assert ana.post(number="1", text="   ").status_code == 422
    Deployment.objects.update(stage="retired")
    refused = ana.post(number="1", text="A prompt that took long to write")
    assert refused.status_code == 409
    assert "A prompt that took long to write</textarea>" in refused.content.decode()
    assert "cannot be asked at the moment" in ana.text(refused)
    assert Turn.objects.count() == 0


def test_answers_that_could_not_be_written_are_tried_again_or_the_prompt_is_taken_back(
    ana: Desk, stub: StubVllm
) -> None:
    begun(ana)
    stub.fault = "500"
    ana.post(number="1", text=WORDS)
    ana.answer()
    failed = ana.get()
    assert "The answers could not be written" in ana.text(failed)
    assert "secret-internal-text" not in failed.content.decode()
    assert "Two answers are being written" in ana.text(ana.client.post(f"{ana.url}retry/", {"number": 1}, follow=True))
    ana.answer()
    back = ana.post("back/", number="1")
    assert f"{WORDS}</textarea>" in back.content.decode()
    assert Turn.objects.count() == 0
    stub.fault = ""
    ana.post(number="1", text=WORDS)
    ana.answer()
    assert "base says" in ana.text(ana.client.get(ana.url, follow=True))


def test_after_a_tie_the_person_chooses_or_asks_for_others_once(ana: Desk) -> None:
    begun(ana)
    ana.post(number="1", text=WORDS)
    ana.answer()
    judge(ana, "tie")
    choosing = ana.get()
    assert "Go on with A" in ana.text(choosing)
    assert "Two other answers" in ana.text(choosing)
    ana.post("again/", number="1")
    ana.answer()
    judge(ana, "both_bad")
    choosing = ana.get()
    assert "Go on with B" in ana.text(choosing)
    assert "Two other answers" not in ana.text(choosing)
    assert ana.post("again/", number="2").status_code == 422
    assert ana.post("pick/", number="2", letter="z").status_code == 422
    done = ana.client.post(f"{ana.url}pick/", {"number": "2", "letter": "b"}, follow=True)
    assert "Your next message" in ana.text(done)
    assert "and went on with this one" in ana.text(done)
    assert ana.text(done).count(WORDS) == 1


def judge(desk: Desk, choice: str) -> None:
    url = desk.client.get(desk.url, follow=True).redirect_chain[-1][0]
    assert desk.client.post(url, {"choice": choice}).status_code in (302, 303)


def asked_about(desk: Desk, text: str = "May it rhyme?") -> Question:
    """Ana has asked about the turn at hand."""
    begun(desk)
    desk.post(number="1", text=WORDS)
    desk.answer()
    turn = desk.client.get(desk.url, follow=True).redirect_chain[-1][0]
    parked = desk.client.post(f"{turn}ask/", {"text": text}, follow=True)
    assert parked.redirect_chain[-1][0] == desk.url and "You have asked about this turn" in desk.text(parked)
    return Question.objects.get()


def test_a_turn_waits_for_the_leads_answer_and_goes_on_with_it(ana: Desk) -> None:
    question = asked_about(ana)
    waiting = ana.get().content.decode()
    assert "May it rhyme?" in waiting and "data-answer" not in waiting
    asks = re.search(r'hx-get="([^"]+)"', waiting)
    assert asks is not None
    assert ana.client.get(asks[1], **HTMX).status_code == 204
    assert ana.post(number="2", text="More").status_code == 409  # what is asked about comes first
    questions.answer(question=question, text="It *may*.", by=make_user("Rosa", ana.project, Role.REVIEWER))
    news = ana.client.get(asks[1], **HTMX)
    assert "The lead has answered" in ana.text(news) and "It <em>may</em>." in news.content.decode()
    resume = f"/p/{ana.project.slug}/annotate/{question.assignment.key}/resume/"
    assert f'action="{resume}"' in news.content.decode()
    judging = ana.client.post(resume, follow=True)
    assert "data-answer" in judging.content.decode() and "It <em>may</em>." in judging.content.decode()
    after = ana.client.post(judging.redirect_chain[-1][0], {"choice": "a"}, follow=True)
    assert after.redirect_chain[-1][0] == ana.url and "Your next message" in ana.text(after)


def test_a_turn_is_judged_without_the_answer_or_left_waiting_when_the_conversation_ends(ana: Desk) -> None:
    question = asked_about(ana)
    resume = f"/p/{ana.project.slug}/annotate/{question.assignment.key}/resume/"
    ana.client.post(resume)
    question.refresh_from_db()
    assert question.status == "withdrawn" and standing_of(Turn.objects.get()) == "judge"
    ana.client.post(f"/p/{ana.project.slug}/annotate/{question.assignment.key}/ask/", {"text": "And again?"})
    url = ana.url
    ana.client.post(f"{url}end/")
    assert Conversation.objects.get().status == "finished"
    ana.client.post(resume)  # from one's questions
    assert ana.client.post(resume.removesuffix("resume/"), {"choice": "b"}).headers["Location"] == ana.root
    assert ana.text(ana.client.get(url)).count("This conversation has ended") == 1


def test_a_conversation_ends_and_stays_in_the_persons_list(ana: Desk) -> None:
    begun(ana)
    ana.post(number="1", text=WORDS)
    ana.answer()
    judge(ana, "a")
    url = ana.url
    ended = ana.client.post(f"{url}end/", follow=True)
    assert "My conversations" in ana.text(ended)
    assert WORDS in ana.text(ended)
    over = ana.client.get(url)
    assert "This conversation has ended" in ana.text(over)
    assert "base says" in ana.text(over)
    ana.client.post(ana.root)
    assert ana.url != url


def test_a_paused_campaign_says_so(ana: Desk) -> None:
    begun(ana)
    pause_campaign(ana.campaign, by=None)
    page = ana.text(ana.get())
    assert "This campaign is paused." in page
    assert "<textarea" not in ana.get().content.decode()
    assert "This campaign is paused." in ana.text(ana.client.get(ana.root)) or "conversation open" in ana.text(
        ana.client.get(ana.root)
    )


def test_nobody_opens_the_conversation_of_another(ana: Desk, client: Client) -> None:
    begun(ana)
    ben = Desk(ana.campaign, "Ben")
    annotator_for(ben.user, ben.project)
    for below in ("", "pick/", "end/", "back/", "retry/", "again/"):
        assert ben.client.post(f"{ana.url}{below}", {"number": "1", "text": "x"}).status_code == 404
    assert ben.client.get(ana.url).status_code == 404
    olga = make_user("Olga")
    client.force_login(olga)
    assert client.get(ana.url).status_code == 404
    ravi = Desk(ana.campaign, "Ravi", Role.RESEARCHER)
    assert ravi.client.get(ana.url).status_code == 403


def test_a_stranger_to_the_way_of_forms_gets_sentences(ana: Desk) -> None:
    begun(ana)
    assert ana.post(number="x", text="y").status_code == 409
    assert ana.post("nonsense/", number="1").status_code == 404
    assert ana.client.get(f"{ana.url}end/").status_code == 405


# ---- the researcher's side -------------------------------------------------------------------------------------------


def test_a_researcher_starts_a_live_campaign(client: Client, stub: StubVllm) -> None:
    project = make_project()
    ravi = make_user("Ravi", project, Role.RESEARCHER)
    client.force_login(ravi)
    url = f"/p/{project.slug}/campaigns/new/live/"
    assert "No model can answer yet" in client.get(url).content.decode()
    deployment = make_deployment(project, stub.url, max_model_length=512)
    page = client.get(url)
    assert page.context["form"].arms["max_tokens"].initial == 128
    fields = {
        "name": "Chat", "first": deployment.key, "first_temperature": "0.5", "second": deployment.key,
        "second_temperature": "1.0", "top_p": "1", "max_tokens": "32", "n_turns": "10", "question": "Which is better?",
        "lease_minutes": "30", "allow_tie": "on", "scale": "8", "comment": "optional", "has_flags": "on",
        "n_criteria": "1", "criterion-0-label": "Harmless", "criterion-0-answer": "rate-5", "criterion-0-is_required": "on",
        "write_in": "on", "reasons": "Facts\nTone", "cap_per_day": "50", "system": "Be brief.",
    }  # fmt: skip
    more = client.post(url, {**fields, "row": "add"})
    assert len(more.context["form"].rows) == 2
    assert more.context["form"].arms["n_turns"].value() == "10"
    refused = client.post(url, {**fields, "first_temperature": "0", "second_temperature": "0"})
    assert refused.status_code == 422
    assert "always be the same" in refused.content.decode()
    made = client.post(url, fields)
    campaign = Campaign.objects.get()
    url = made.headers["Location"]
    assert url.endswith(f"/campaigns/{campaign.key}/")
    assert (campaign.is_live, campaign.stage, campaign.n_tasks, campaign.allow_both_bad) == (True, "open", 10, False)
    protocol = Protocol.parse(campaign.protocol)
    assert (campaign.strength_levels, campaign.cap_per_day, protocol.write_in) == (4, 50, "optional")
    assert [(each.name, each.levels) for each in protocol.criteria] == [("harmless", 5)]
    assert campaign.jobs.get().selection == {"system": "Be brief."}
    assert [arm.sampling["temperature"] for arm in campaign.jobs.get().arms.order_by("number")] == [0.5, 1.0]
    assert client.get(url).status_code == 200


@pytest.mark.parametrize("name", ["hh-helpful", "hh-red-team", "llama-2"])
def test_a_protocol_of_the_literature_is_a_beginning(client: Client, stub: StubVllm, name: str) -> None:
    project = make_project()
    client.force_login(make_user("Ravi", project, Role.RESEARCHER))
    deployment = make_deployment(project, stub.url)
    url = f"/p/{project.slug}/campaigns/new/live/"
    form = client.get(url, {"template": name}).context["form"]
    data = form.as_data()
    data["name"], data["n_turns"], data["template"] = "Chat", "5", name
    assert data["first"] == deployment.key
    assert client.post(url, data.dict() | {"n_criteria": str(len(form.rows))}).status_code == 303
    campaign = Campaign.objects.get()
    expected = TEMPLATES[name].options()
    assert campaign.template == name
    assert campaign.chosen_is_worse == expected.get("chosen_is_worse", False)
    assert campaign.strength_levels == expected["strength_levels"]


def test_turns_are_no_jobs_in_the_lists(client: Client, stub: StubVllm) -> None:
    writer = Writer(make_live(stub))
    writer.turn()
    project = writer.campaign.project
    client.force_login(make_user("Ravi", project, Role.RESEARCHER))
    listed = client.get(f"/p/{project.slug}/generate/").context["jobs"].object_list
    assert list(listed) == []
    assert client.get(f"/p/{project.slug}/campaigns/new/").status_code == 200
