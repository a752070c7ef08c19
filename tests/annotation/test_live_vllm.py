"""A live conversation with the real vLLM and the starter model."""

from typing import TYPE_CHECKING

import pytest

from annotation.judge import live_judgements
from annotation.live import take_back
from annotation.live_campaigns import start_live_campaign
from annotation.live_standing import Standing, continuing, is_too_long, standing_of
from generation.models import Candidate
from tests.annotation.builders import make_project
from tests.annotation.live_world import Writer, make_deployment

if TYPE_CHECKING:
    from generation.engines.vllm import VllmServer

pytestmark = [pytest.mark.vllm, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def ana(vllm_server: "VllmServer", monkeypatch: pytest.MonkeyPatch) -> Writer:
    monkeypatch.setattr("core.jobs._send", lambda job: None)
    monkeypatch.setattr("annotation.live._send", lambda turn: None)
    project = make_project()
    context = 512
    deployment = make_deployment(project, vllm_server.base_url, "base", timeout_seconds=60, max_model_length=context)
    arms = [{"deployment": deployment, "sampling": {"temperature": t, "max_tokens": 24}} for t in (0.8, 1.2)]
    return Writer(start_live_campaign(project=project, name="Chat", arms=arms, n_turns=20, by=None))


def test_three_turns_of_two_answers(ana: Writer) -> None:
    for number, text in enumerate(("What color is the sky?", "Are you sure?", "Thank you."), start=1):
        turn = ana.turn("ab"[number % 2], text)
        answers = list(Candidate.objects.filter(arm__job=turn.job).order_by("arm__number"))
        assert [answer.arm.number for answer in answers] == [0, 1]
        assert all(answer.n_prompt_tokens and answer.finish_reason in ("stop", "length") for answer in answers)
        assert answers[0].seed != answers[1].seed
        assert len(turn.prompt.messages) == 2 * number - 1
    turns = list(ana.talk.turns.order_by("number"))
    assert [message["content"] for message in turns[2].prompt.messages[1::2]] == [
        continuing(turn).text for turn in turns[:2]
    ]
    tokens = [
        Candidate.objects.filter(arm__job=turn.job).values_list("n_prompt_tokens", flat=True)[0] or 0 for turn in turns
    ]
    assert tokens == sorted(tokens)
    assert tokens[0] < tokens[2]  # the model has read what was said before
    assert live_judgements().count() == 3


def test_a_prompt_longer_than_the_context_is_told_apart_and_taken_back(ana: Writer) -> None:
    turn = ana.write("why " * 4_000)
    ana.answer()
    turn.job.refresh_from_db()
    assert standing_of(ana.last) == Standing.FAILED
    assert is_too_long(ana.last)
    assert take_back(conversation_key=ana.talk.key, annotator=ana.me, number=1).startswith("why why")
    ana.turn("a", "Why?")
