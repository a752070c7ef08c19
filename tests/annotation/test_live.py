"""Live conversations: the prompt, the two answers, the judgement, and what goes on. A stub stands for an engine in trouble."""

import threading
from collections.abc import Iterator

import pytest

from annotation.assign import next_assignment, skip_assignment
from annotation.campaigns import close_campaign, open_campaigns, pause_campaign, resume_campaign
from annotation.judge import undo_judgement
from annotation.live import (
    end_conversation,
    pick_answer,
    send_prompt,
    start_conversation,
    take_back,
    try_again,
    write_again,
)
from annotation.live_standing import Standing, assignment_of_turn, continuing, standing_of
from annotation.live_turns import answer_turn, settle_turn, settle_turns
from annotation.models import Assignment, ComparisonTask, Conversation, Turn
from core.errors import Conflict, DomainError
from core.ids import group_sha256, split_for
from core.jobs import JobStatus, reap
from generation import sampling_run
from generation.models import Candidate, Deployment, GenerationJob, Prompt
from generation.sampling_run import run_generation
from tests.annotation.builders import make_annotator
from tests.annotation.checks import violations
from tests.annotation.live_world import WORDS, Writer, make_live
from tests.generation.stub_vllm import StubVllm

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.jobs._send", lambda job: None)
    monkeypatch.setattr("annotation.live._send", lambda turn: None)
    monkeypatch.setattr(sampling_run, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(sampling_run, "LONGEST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(sampling_run, "FLUSH_SECONDS", 0.02)
    monkeypatch.setattr(sampling_run, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(sampling_run, "SHORTEST_PROBE_SECONDS", 0.02)


@pytest.fixture
def stub() -> Iterator[StubVllm]:
    with StubVllm() as server:
        yield server


@pytest.fixture
def ana(stub: StubVllm) -> Writer:
    return Writer(make_live(stub))


def candidates(turn: Turn) -> list[Candidate]:
    return list(Candidate.objects.filter(arm__job=turn.job).order_by("arm__number"))


# ---- the way of a turn -----------------------------------------------------------------------------------------------


def test_two_arms_answer_and_the_author_has_the_only_seat(ana: Writer) -> None:
    turn = ana.write()
    assert standing_of(turn) == Standing.WAITING
    ana.answer()
    assert standing_of(ana.last) == Standing.JUDGE
    assert [candidate.arm.number for candidate in candidates(turn)] == [0, 1]
    task = ana.last.task
    assert (task.seats, task.n_taken, task.is_free) == (1, 1, False)
    assert [slot.candidate.key for slot in task.slots.all()] == sorted(c.key for c in candidates(turn))
    assert sorted(ana.assignment.display_order) == [0, 1]
    assert violations(ana.campaign) == []


def test_the_better_answer_goes_on(ana: Writer, stub: StubVllm) -> None:
    first = ana.turn("b")
    better = continuing(first)
    assert better is not None
    assert better == first.task.slots.get(slot=ana.assignment.display_order[1]).candidate
    second = ana.write("And of Italy?")
    assert second.prompt.messages == [
        {"role": "user", "content": WORDS},
        {"role": "assistant", "content": better.text},
        {"role": "user", "content": "And of Italy?"},
    ]
    ana.answer()
    assert [body["messages"] for body in stub.bodies("/v1/chat/completions")[-2:]] == [second.prompt.messages] * 2
    assert {candidate.continues for candidate in candidates(second)} == {better}
    first.refresh_from_db()
    assert first.chosen == better
    assert ComparisonTask.objects.filter(campaign=ana.campaign).count() == 2


def test_a_system_message_begins_every_conversation(stub: StubVllm) -> None:
    ana = Writer(make_live(stub, system="Be brief."))
    ana.turn()
    assert ana.last.prompt.messages[0] == {"role": "system", "content": "Be brief."}
    assert [message["role"] for message in ana.write("More").prompt.messages] == ["system", "user", "assistant", "user"]


def test_all_turns_of_a_conversation_lie_on_one_side(ana: Writer) -> None:
    ana.turn("a")
    ana.turn("b", "And then?")
    prompts = Prompt.objects.filter(turns__conversation=ana.talk)
    group = group_sha256(WORDS)
    assert {(prompt.group_sha256, prompt.split) for prompt in prompts} == {(group, split_for(group))}
    assert all(prompt.tags == ["live"] and prompt.metadata["conversation"] == ana.talk.key for prompt in prompts)
    prompt_set = prompts[0].set
    prompt_set.refresh_from_db()
    assert prompt_set.n_prompts == 2


def test_two_people_may_write_the_same(ana: Writer) -> None:
    ben = Writer(ana.campaign)
    first, second = ana.turn(), ben.turn("b")
    assert first.prompt == second.prompt
    assert first.job != second.job
    assert first.task != second.task


@pytest.mark.parametrize("choice", ["tie", "both_bad"])
def test_without_a_better_answer_the_person_says_which_goes_on(ana: Writer, choice: str) -> None:
    turn = ana.turn(choice)
    assert standing_of(turn) == Standing.CHOOSE
    with pytest.raises(Conflict, match="not judged"):
        ana.write("And of Italy?")
    picked = pick_answer(conversation_key=ana.talk.key, annotator=ana.me, number=1, letter="b")
    assert picked == turn.task.slots.get(slot=ana.assignment.display_order[1]).candidate
    assert pick_answer(conversation_key=ana.talk.key, annotator=ana.me, number=1, letter="b") == picked
    assert standing_of(ana.last) == Standing.DONE
    assert ana.write("And of Italy?").prompt.messages[1]["content"] == picked.text


def test_other_answers_can_be_asked_for_once(ana: Writer) -> None:
    ana.turn("both_bad")
    again = write_again(conversation_key=ana.talk.key, annotator=ana.me, number=1)
    assert write_again(conversation_key=ana.talk.key, annotator=ana.me, number=1) == again
    assert (again.number, again.prompt) == (2, ana.talk.turns.get(number=1).prompt)
    ana.answer()
    texts = [candidate.text for turn in ana.talk.turns.all() for candidate in candidates(turn)]
    assert len(set(texts)) == 4
    ana.judge("tie")
    with pytest.raises(DomainError, match="once"):
        write_again(conversation_key=ana.talk.key, annotator=ana.me, number=2)
    pick_answer(conversation_key=ana.talk.key, annotator=ana.me, number=2, letter="a")
    assert len(ana.write("Go on").prompt.messages) == 3


def test_what_was_better_goes_on_and_nothing_else(ana: Writer) -> None:
    ana.turn("a")
    best = continuing(ana.last)
    worse = next(c for c in candidates(ana.last) if c != best)
    order = ana.assignment.display_order
    letter = "ab"[order.index(worse.slots.get().slot)]
    with pytest.raises(Conflict, match="the other answer is better"):
        pick_answer(conversation_key=ana.talk.key, annotator=ana.me, number=1, letter=letter)
    with pytest.raises(DomainError, match="better"):
        write_again(conversation_key=ana.talk.key, annotator=ana.me, number=1)


def test_an_undone_judgement_is_given_again_before_the_talk_goes_on(ana: Writer) -> None:
    ana.turn("a")
    undo_judgement(assignment_key=ana.assignment.key, annotator=ana.me)
    assert standing_of(ana.last) == Standing.JUDGE
    with pytest.raises(Conflict):
        ana.write("More")
    ana.judge("b")
    assert ana.write("More").prompt.messages[1]["content"] == ana.last.conversation.turns.get(number=1).chosen.text


def test_a_correction_does_not_change_what_the_talk_went_on_with(ana: Writer) -> None:
    first = ana.turn("a")
    ana.write("More")
    first.refresh_from_db()
    went_on, turn = first.chosen, assignment_of_turn(first)
    assert turn is not None
    undo_judgement(assignment_key=turn.key, annotator=ana.me)
    first.refresh_from_db()
    assert first.chosen == went_on
    ana.answer()
    assert standing_of(ana.last) == Standing.JUDGE


def test_a_skipped_turn_is_nobody_elses(ana: Writer) -> None:
    ben = make_annotator(ana.campaign.project, "Ben")
    ana.write()
    ana.answer()
    skip_assignment(assignment_key=ana.assignment.key, annotator=ana.me, reason="too hard")
    assert standing_of(ana.last) == Standing.CHOOSE
    assert next_assignment(ben, ana.campaign) is None
    pick_answer(conversation_key=ana.talk.key, annotator=ana.me, number=1, letter="a")
    ana.turn("a", "Something easier")
    assert Assignment.objects.exclude(annotator=ana.me).count() == 0


# ---- twice, and at once ----------------------------------------------------------------------------------------------


def test_a_prompt_sent_twice_is_one_turn(ana: Writer) -> None:
    first = ana.write()
    again = send_prompt(conversation_key=ana.talk.key, annotator=ana.me, number=1, text=f"  {WORDS}\r\n")
    assert again == first
    assert (Turn.objects.count(), GenerationJob.objects.filter(turns__isnull=False).count()) == (1, 1)
    with pytest.raises(Conflict, match="another tab"):
        send_prompt(conversation_key=ana.talk.key, annotator=ana.me, number=1, text="Another question")


def test_many_clicks_at_once_make_one_turn_and_one_conversation(ana: Writer) -> None:
    problems: list[BaseException] = []
    ready = threading.Barrier(6)

    def click() -> None:
        from django.db import connection

        try:
            ready.wait()
            talk = start_conversation(campaign=ana.campaign, annotator=ana.me)
            send_prompt(conversation_key=talk.key, annotator=ana.me, number=1, text=WORDS)
        except BaseException as problem:
            problems.append(problem)
        finally:
            connection.close()

    threads = [threading.Thread(target=click) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert (Conversation.objects.count(), Turn.objects.count(), Prompt.objects.count()) == (1, 1, 1)


def test_answers_settled_by_many_at_once_are_one_task(ana: Writer) -> None:
    turn = ana.write()
    run_generation(turn.job_id)
    ready = threading.Barrier(6)
    done: list[bool] = []

    def settle() -> None:
        from django.db import connection

        try:
            ready.wait()
            done.append(settle_turn(turn.pk))
        finally:
            connection.close()

    threads = [threading.Thread(target=settle) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [False] * 5 + [True]
    assert (ComparisonTask.objects.count(), Assignment.objects.count()) == (1, 1)


# ---- trouble ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["500", "garbage", "cut", "half an answer"])
def test_models_that_fail_keep_the_prompt_and_are_asked_again(ana: Writer, stub: StubVllm, fault: str) -> None:
    stub.fault = fault
    turn = ana.write()
    ana.answer()
    assert standing_of(ana.last) == Standing.FAILED
    assert ComparisonTask.objects.count() == 0
    stub.fault = ""
    for _ in range(2):  # a double click asks once
        try_again(conversation_key=ana.talk.key, annotator=ana.me, number=1)
    ana.answer()
    assert standing_of(ana.last) == Standing.JUDGE
    assert len(candidates(turn)) == 2


def test_one_answer_that_fails_is_no_turn_and_only_that_one_is_asked_again(ana: Writer, stub: StubVllm) -> None:
    turn = ana.write()
    hot = turn.job.arms.get(number=1)
    before = len(stub.requests)

    def spoil(path: str, body: dict) -> None:
        if path.endswith("completions"):
            stub.fault = "500" if body["temperature"] == 1.0 else ""

    stub.on_request = spoil
    ana.answer()
    assert standing_of(ana.last) == Standing.FAILED
    assert [candidate.arm_id for candidate in candidates(turn)] == [turn.job.arms.get(number=0).pk]
    stub.on_request, stub.fault = None, ""
    before = len(stub.bodies("/v1/chat/completions"))
    try_again(conversation_key=ana.talk.key, annotator=ana.me, number=1)
    ana.answer()
    assert len(stub.bodies("/v1/chat/completions")) == before + 1
    assert {candidate.arm_id for candidate in candidates(turn)} == {hot.pk, turn.job.arms.get(number=0).pk}


def test_a_server_that_is_away_ends_the_waiting_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling_run, "LIVE_OUTAGE_SECONDS", 0.3)
    with StubVllm() as stub:
        ana = Writer(make_live(stub))
    ana.write()
    ana.answer()
    ana.last.job.refresh_from_db()
    assert standing_of(ana.last) == Standing.FAILED
    assert ana.last.job.error == "The models do not answer."


def test_a_prompt_that_is_too_long_can_be_taken_back(ana: Writer, stub: StubVllm) -> None:
    stub.answer = lambda path, body: (  # type: ignore[method-assign]
        (400, {"error": {"message": "This model's maximum context length is 512 tokens."}})
        if path.endswith("completions")
        else (200, {"data": [{"id": "base", "max_model_len": 512}]})
    )
    ana.write("word " * 900)
    ana.answer()
    assert standing_of(ana.last) == Standing.FAILED
    text = take_back(conversation_key=ana.talk.key, annotator=ana.me, number=1)
    assert text == ("word " * 900).strip()
    assert (Turn.objects.count(), Prompt.objects.count(), Candidate.objects.count()) == (0, 0, 0)
    assert GenerationJob.objects.filter(campaigns__isnull=True).count() == 0
    assert take_back(conversation_key=ana.talk.key, annotator=ana.me, number=1) == ""


def test_a_conversation_that_fills_the_context_takes_no_more(ana: Writer) -> None:
    ana.campaign.jobs.get().arms.first().deployment.endpoint.__class__.objects.update(max_model_length=9)
    ana.turn("a")  # the stub counts 5 tokens of prompt and 3 of answer
    with pytest.raises(DomainError, match="fills what the models can read"):
        ana.write("More")
    assert Turn.objects.count() == 1


def test_a_prompt_taken_back_while_it_is_asked_leaves_nothing(ana: Writer, stub: StubVllm) -> None:
    stub.fault = "slow"
    turn = ana.write()
    worker = threading.Thread(target=run_generation, args=[turn.job_id], daemon=True)
    worker.start()
    while GenerationJob.objects.get(pk=turn.job_id).status != JobStatus.RUNNING:
        pass
    assert take_back(conversation_key=ana.talk.key, annotator=ana.me, number=1) == WORDS
    worker.join(30)
    settle_turns()
    assert (Turn.objects.count(), Prompt.objects.count(), Candidate.objects.count()) == (0, 0, 0)
    assert GenerationJob.objects.filter(campaigns__isnull=True).count() == 0


def test_what_a_dead_worker_left_is_settled_by_the_tick(ana: Writer) -> None:
    turn = ana.write()
    run_generation(turn.job_id)  # and here the worker dies
    assert standing_of(ana.last) == Standing.WAITING
    assert settle_turns() == 1
    assert settle_turns() == 0
    assert standing_of(ana.last) == Standing.JUDGE


def test_a_lease_that_was_lost_goes_on_to_one_answer_an_arm(ana: Writer) -> None:
    turn = ana.write()
    GenerationJob.objects.filter(pk=turn.job_id).update(
        status="running", lease_token="dead", leased_until="2020-01-01T00:00Z"
    )
    Candidate.objects.create(arm=turn.job.arms.get(number=1), prompt=turn.prompt, index=0, text="kept", text_sha256="x")
    reap()
    answer_turn(turn.pk, run_generation)
    found = candidates(turn)
    assert [candidate.arm.number for candidate in found] == [0, 1]
    assert found[1].text == "kept"
    assert standing_of(ana.last) == Standing.JUDGE


def test_models_that_are_not_served_store_nothing(ana: Writer) -> None:
    Deployment.objects.update(stage="retired")
    with pytest.raises(Conflict, match="cannot be asked"):
        ana.write()
    assert (Turn.objects.count(), Prompt.objects.count()) == (0, 0)


def test_a_model_that_was_deployed_again_is_asked_there(ana: Writer) -> None:
    old = Deployment.objects.get()
    new = Deployment.objects.get()
    new.pk, new.key, new.served_name, new.stage = None, "aaaabbbbcccc", "base::again", "live"
    Deployment.objects.filter(pk=old.pk).update(stage="retired")
    new.save(force_insert=True)
    turn = ana.write()
    assert {arm.deployment for arm in turn.job.arms.all()} == {new}
    ana.answer()
    assert standing_of(ana.last) == Standing.JUDGE


# ---- the campaign around it ------------------------------------------------------------------------------------------


def test_a_live_campaign_is_open_at_once(ana: Writer) -> None:
    assert ana.campaign.stage == "open"
    assert open_campaigns(ana.campaign.project) == [ana.campaign]
    assert reap() == 0


def test_a_paused_campaign_takes_no_prompt_but_the_judgement_of_what_is_there(ana: Writer) -> None:
    ana.write()
    ana.answer()
    pause_campaign(ana.campaign, by=None)
    ana.judge("a")
    with pytest.raises(DomainError, match="paused"):
        ana.write("More")
    resume_campaign(ana.campaign, by=None)
    assert ana.write("More").number == 2


def test_a_closed_campaign_ends_its_conversations(ana: Writer) -> None:
    ana.turn("a")
    ana.write("More")
    ben = Writer(ana.campaign)
    close_campaign(ana.campaign, by=None)
    settle_turns()
    statuses = dict(Conversation.objects.values_list("annotator", "status"))
    assert statuses == {ana.me.pk: "finished", ben.me.pk: "abandoned"}
    assert Turn.objects.count() == 1
    settle_turns()
    assert GenerationJob.objects.filter(turns__isnull=True, campaigns__isnull=True).count() == 0


def test_a_campaign_takes_as_many_turns_as_it_wants(stub: StubVllm) -> None:
    ana = Writer(make_live(stub, n_turns=2))
    ana.turn("a")
    ana.turn("a", "Second")
    with pytest.raises(DomainError, match="all the turns"):
        ana.write("Third")


def test_an_ended_conversation_keeps_what_is_judged_and_another_begins(ana: Writer) -> None:
    ana.turn("a")
    ana.write("More")
    ana.answer()
    end_conversation(conversation_key=ana.talk.key, annotator=ana.me)
    end_conversation(conversation_key=ana.talk.key, annotator=ana.me)
    ana.talk.refresh_from_db()
    assert ana.talk.status == "finished"
    assert [assignment.status for assignment in Assignment.objects.order_by("pk")] == ["submitted", "released"]
    with pytest.raises(Conflict, match="ended"):
        ana.write("Still")
    another = start_conversation(campaign=ana.campaign, annotator=ana.me)
    assert another != ana.talk
    assert violations(ana.campaign) == []


def test_nobody_sees_the_conversation_of_another(ana: Writer) -> None:
    olga = make_annotator(ana.campaign.project, "Olga")
    with pytest.raises(DomainError, match="no such conversation of yours"):
        send_prompt(conversation_key=ana.talk.key, annotator=olga, number=1, text="Hello")
