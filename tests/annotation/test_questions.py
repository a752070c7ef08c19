"""Ask: the task is parked with its seat, the person goes on, the answer returns, and may become a ruling."""

import pytest

from accounts.members import remove_member
from accounts.models import AuditEvent, Membership, Role
from annotation import questions, rulings
from annotation.assign import next_assignment
from annotation.campaigns import close_campaign
from annotation.examples import example_of, read_example
from annotation.expiry import expire_leases
from annotation.models import Assignment, Question, Ruling, Workday
from core.errors import Conflict, DomainError
from core.jobs import from_now
from tests.annotation.builders import make_annotator, make_campaign, make_project, make_user
from tests.annotation.checks import violations

pytestmark = pytest.mark.django_db


class Desk:
    def __init__(self, **options) -> None:
        self.project = make_project()
        self.campaign = make_campaign(self.project, **{"n_tasks": 3, **options})
        self.ana = make_annotator(self.project)
        self.ravi = make_user("Ravi", self.project, Role.RESEARCHER)

    def take(self) -> Assignment:
        turn = next_assignment(self.ana, self.campaign)
        assert turn is not None
        return turn

    def ask(self, text: str = "Is a refusal harmless?") -> Question:
        return questions.ask(assignment_key=self.take().key, annotator=self.ana, text=text)


def test_asking_parks_the_task_with_its_seat_and_the_next_one_is_another():
    desk = Desk(n_tasks=2)
    question = desk.ask()
    assert (question.assignment.status, question.assignment.seat) == ("parked", 0)
    assert question.assignment.leased_until is None
    other = desk.take()
    assert other.task_id != question.assignment.task_id
    ben = make_annotator(desk.project, "Ben")
    assert next_assignment(ben, desk.campaign) is None  # Ana holds both
    assert Workday.objects.get().n_parked == 1
    assert violations(desk.campaign) == []


def test_a_parked_task_outlives_its_lease():
    desk = Desk()
    question = desk.ask()
    Assignment.objects.update(leased_until=from_now(-3600))
    expire_leases()
    question.assignment.refresh_from_db()
    assert question.assignment.status == "parked"


def test_a_question_sent_twice_is_one():
    desk = Desk()
    turn = desk.take()
    first, second = (questions.ask(assignment_key=turn.key, annotator=desk.ana, text=" Why? ") for _ in range(2))
    assert first == second and Workday.objects.get().n_parked == 1
    with pytest.raises(Conflict):
        questions.ask(assignment_key=turn.key, annotator=desk.ana, text="And why that?")


def test_nobody_asks_about_a_task_of_somebody_else():
    desk = Desk()
    turn = desk.take()
    with pytest.raises(DomainError):
        questions.ask(assignment_key=turn.key, annotator=make_annotator(desk.project, "Ben"), text="Hm?")
    assert not Question.objects.exists()


def test_an_empty_or_endless_question_parks_nothing():
    desk = Desk()
    for text in ("  ", "x" * 5_001):
        with pytest.raises(DomainError):
            desk.ask(text)
    assert desk.take().status == "open"


def test_seats_are_not_hoarded_by_asking(monkeypatch):
    monkeypatch.setattr(questions, "MAX_OPEN", 2)
    desk = Desk(n_tasks=4)
    desk.ask()
    desk.ask()
    with pytest.raises(Conflict):
        desk.ask()
    assert desk.take().status == "open"


def test_the_answer_returns_to_its_asker_and_the_task_with_it():
    desk = Desk()
    question = desk.ask()
    assert list(questions.inbox(desk.project)) == [question]
    questions.answer(question=question, text="Yes, if it is polite.", by=desk.ravi)
    assert list(questions.inbox(desk.project)) == []
    assert questions.news_for(desk.ana) == [question]
    turn = questions.take_back_up(question=question, annotator=desk.ana)
    assert turn.status == "open" and turn.leased_until is not None
    assert next_assignment(desk.ana, desk.campaign) == turn
    assert questions.news_for(desk.ana) == []
    question.refresh_from_db()
    assert question.assignment == turn and question.answer == "Yes, if it is polite." and question.seen_at is not None
    assert AuditEvent.objects.filter(action="question.answer", user=desk.ravi).count() == 1
    assert violations(desk.campaign) == []


def test_an_answer_is_put_right_and_told_again():
    desk = Desk()
    question = desk.ask()
    questions.answer(question=question, text="No.", by=desk.ravi)
    questions.take_back_up(question=question, annotator=desk.ana)
    question.refresh_from_db()
    questions.answer(question=question, text="Yes, sorry.", by=desk.ravi)
    assert [news.answer for news in questions.news_for(desk.ana)] == ["Yes, sorry."]
    with pytest.raises(Conflict):
        questions.reopen(question=question, by=desk.ravi)  # Ana has gone on with it


def test_an_answer_is_taken_back_while_the_task_is_parked():
    desk = Desk()
    question = desk.ask()
    questions.answer(question=question, text="No.", by=desk.ravi)
    questions.reopen(question=question, by=desk.ravi)
    question.refresh_from_db()
    assert (question.status, question.answer) == ("open", "")
    assert questions.news_for(desk.ana) == []


def test_going_on_without_an_answer_withdraws_the_question():
    desk = Desk()
    question = desk.ask()
    turn = questions.take_back_up(question=question, annotator=desk.ana)
    question.refresh_from_db()
    assert (turn.status, question.status) == ("open", "withdrawn")
    with pytest.raises(Conflict):
        questions.answer(question=question, text="Too late.", by=desk.ravi)
    again = questions.ask(assignment_key=turn.key, annotator=desk.ana, text="No, really?")
    assert again.status == "open" and again != question


def test_a_parked_task_of_a_closed_campaign_is_not_taken_up_again():
    desk = Desk()
    question = desk.ask()
    close_campaign(desk.campaign, by=desk.ravi)
    with pytest.raises(Conflict):
        questions.take_back_up(question=question, annotator=desk.ana)


def test_a_question_becomes_one_dated_ruling_with_its_example_as_it_was_shown():
    desk = Desk()
    question = desk.ask()
    with pytest.raises(DomainError):
        rulings.rule(campaign=desk.campaign, title="T", text="x", by=desk.ravi, question=question)
    questions.answer(question=question, text="Yes.", by=desk.ravi)
    for _ in range(2):
        ruling = rulings.rule(
            campaign=desk.campaign, title="Refusals", text="Harmless.", by=desk.ravi, question=question
        )
    assert Ruling.objects.get() == ruling
    shown = example_of(question.assignment)
    assert read_example(ruling.example) == shown
    assert [letter for letter, _ in shown.answers] == ["A", "B"]
    assert set(ruling.example) == {"messages", "answers"}


def test_rulings_are_found_by_any_word_of_them():
    desk = Desk()
    question = desk.ask()
    questions.answer(question=question, text="Yes.", by=desk.ravi)
    first = rulings.rule(campaign=desk.campaign, title="Übermut", text="Tut selten gut.", by=desk.ravi)
    second = rulings.rule(campaign=desk.campaign, title="Refusals", text="Fine.", by=desk.ravi, question=question)
    find = lambda words: rulings.standing_rulings(desk.campaign, words)  # noqa: E731
    assert find("") == [second, first]
    assert find("übermut GUT") == [first]
    assert find("answer 0-1") == [second]  # in its example
    assert find("100%") == [] and find("messages") == []
    rulings.withdraw(ruling=first, by=desk.ravi)
    assert find("übermut") == []
    with pytest.raises(Conflict):
        rulings.edit(ruling=first, title="New", text="New", by=desk.ravi)
    rulings.put_back(ruling=first, by=desk.ravi)
    rulings.edit(ruling=first, title="Übermut, neu", text="Tut nie gut.", by=desk.ravi)
    assert [ruling.title for ruling in find("nie")] == ["Übermut, neu"]


def test_a_ruling_that_is_worded_anew_keeps_its_date_and_says_when():
    desk = Desk()
    ruling = rulings.rule(campaign=desk.campaign, title="R", text="Fine.", by=desk.ravi)
    made = ruling.created_at
    rulings.edit(ruling=ruling, title="R", text="Fine.", by=desk.ravi)  # saved as it stood
    assert ruling.edited_at is None
    rulings.edit(ruling=ruling, title="R", text="Not so fine.", by=desk.ravi)
    assert ruling.created_at == made and ruling.edited_at is not None and ruling.edited_at >= made


def test_a_ruling_can_go_without_its_example():
    desk = Desk()
    question = desk.ask()
    questions.answer(question=question, text="Yes.", by=desk.ravi)
    ruling = rulings.rule(campaign=desk.campaign, title="R", text="Fine.", by=desk.ravi, question=question)
    rulings.edit(ruling=ruling, title="R", text="Fine.", by=desk.ravi, has_example=False)
    assert Ruling.objects.get().example == {}


def test_what_someone_has_parked_who_leaves_is_free_again():
    desk = Desk()
    question = desk.ask()
    assert questions.withdraw_orphans() == 0
    olga = Membership.objects.create(project=desk.project, user=make_user("Olga"), is_admin=True)
    remove_member(membership=Membership.objects.get(user=desk.ana.user), by=olga)
    question.assignment.refresh_from_db()
    assert question.assignment.status == "released"
    assert questions.withdraw_orphans() == 1
    question.refresh_from_db()
    assert question.status == "withdrawn"
    assert violations(desk.campaign) == []


def test_the_tick_frees_what_someone_has_parked_who_may_judge_no_more():
    desk = Desk()
    desk.ask()
    Membership.objects.filter(user=desk.ana.user).update(expires_at=from_now(-1))
    assert expire_leases() == 1
    assert questions.withdraw_orphans() == 1
    assert violations(desk.campaign) == []
