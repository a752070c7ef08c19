"""What one has said can be said otherwise until the campaign closes; drafts outlive what happens to a page; one's past is found."""

import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import Membership
from annotation import past
from annotation.assign import next_assignment, skip_assignment
from annotation.campaigns import close_campaign
from annotation.drafts import draft_of, filled_in, save_draft
from annotation.expiry import expire_leases
from annotation.flags import set_flags
from annotation.judge import correct_judgement, live_judgements, submit_judgement, undo_judgement
from annotation.models import Assignment, Draft, Flag, Judgement, Place, Workday
from annotation.protocol import Said
from annotation.rows import said_of
from annotation.turns import Lost
from core.errors import Conflict, DomainError
from core.jobs import from_now
from generation.models import Candidate, Prompt
from tests.annotation.builders import judge, make_annotator, make_campaign, make_people, said_as_shown
from tests.annotation.checks import violations

pytestmark = pytest.mark.django_db


def correct(turn: Assignment, ranks=(2, 1), **options) -> Judgement:
    instead_of = options.pop("instead_of", None)
    said = said_as_shown(turn, ranks, **options)
    return correct_judgement(assignment_key=turn.key, annotator=turn.annotator, said=said, instead_of=instead_of)


def draft(turn: Assignment, number: int, **fields) -> bool:
    return save_draft(assignment_key=turn.key, annotator=turn.annotator, fields=fields, number=number)


# ---- corrections ---------------------------------------------------------------------------------------------------------


def test_a_correction_is_the_next_revision_and_changes_no_seat_and_no_count():
    campaign = make_campaign(n_tasks=1)
    turn = next_assignment(make_annotator(campaign.project), campaign)
    first = judge(turn)
    second = correct(turn, comment="On second thoughts.")
    assert [first.revision, second.revision] == [1, 2]
    assert live_judgements().get() == second
    assert list(first.ranks.values_list("rank", flat=True)) == [1, 2]  # what was said first is kept as it was
    assert correct(turn, comment="On second thoughts.") == second  # sent again
    assert Judgement.objects.count() == 2
    assert Place.objects.get().n_submitted == 1
    assert turn.events.last().note == "corrected"
    assert violations(campaign) == []


def test_of_two_tabs_that_correct_the_same_judgement_the_second_is_told():
    campaign = make_campaign(n_tasks=1)
    turn = next_assignment(make_annotator(campaign.project), campaign)
    first = judge(turn)
    correct(turn, instead_of=first.key)
    with pytest.raises(Conflict, match="another tab"):
        correct(turn, verdict="tie", instead_of=first.key)
    assert live_judgements().get().verdict == "ranked"


def test_nothing_is_corrected_after_the_close_or_before_a_judgement():
    campaign = make_campaign(n_tasks=2)
    ana = make_annotator(campaign.project)
    turn = next_assignment(ana, campaign)
    with pytest.raises(Conflict):
        correct(turn)
    judge(turn)
    other = next_assignment(ana, campaign)
    skip_assignment(assignment_key=other.key, annotator=ana)
    with pytest.raises(Conflict):
        correct(other)
    close_campaign(campaign, by=None)
    with pytest.raises(Conflict, match="closed"):
        correct(turn)
    assert Judgement.objects.count() == 1


def test_a_correction_after_an_undo_and_a_new_judgement_follows_the_last():
    campaign = make_campaign(n_tasks=1)
    turn = next_assignment(make_annotator(campaign.project), campaign)
    judge(turn)
    undo_judgement(assignment_key=turn.key, annotator=turn.annotator)
    judge(turn, (2, 1))
    correct(turn, (1, 2))
    verdicts = list(Judgement.objects.order_by("revision").values_list("revision", "verdict"))
    assert verdicts == [(1, "ranked"), (2, "withdrawn"), (3, "ranked"), (4, "ranked")]
    assert violations(campaign) == []


def test_everything_that_is_said_is_stored_and_read_back():
    protocol = {
        "criteria": [
            {"name": "true", "label": "True", "kind": "rate", "levels": 5},
            {"name": "safe", "label": "Safe", "kind": "compare", "levels": 3},
        ],
        "reasons": ["Wrong"], "write_in": "optional",
    }  # fmt: skip
    campaign = make_campaign(n_tasks=1, strength_levels=3, protocol=protocol)
    turn = next_assignment(make_annotator(campaign.project), campaign)
    said = Said(
        "ranked", (2, 1), 3, (("true", 0, 1), ("true", 1, 5), ("safe", None, -2)), ("Wrong",), "Because.", "Better.", 1,
        (("broken", None), ("private", 0)), "A telephone number.",
    )  # fmt: skip
    judgement = submit_judgement(assignment_key=turn.key, annotator=turn.annotator, said=said)
    assert said_of(judgement) == said
    assert judgement.edited_from == turn.task.slots.get(slot=1).candidate
    assert Flag.objects.filter(status="open").count() == 2


def test_a_flag_that_is_no_longer_given_is_withdrawn_and_one_decided_on_stays():
    campaign = make_campaign(n_tasks=1)
    turn = next_assignment(make_annotator(campaign.project), campaign)
    judge(turn, flags=(("broken", None), ("harmful", 0)))
    Flag.objects.filter(kind="harmful").update(status="upheld")
    correct(turn, (2, 1), flags=())
    assert dict(Flag.objects.values_list("kind", "status")) == {"broken": "withdrawn", "harmful": "upheld"}
    set_flags(turn, turn.annotator, [("broken", None), ("harmful", 0)])
    assert dict(Flag.objects.values_list("kind", "status")) == {"broken": "open", "harmful": "upheld"}


# ---- drafts --------------------------------------------------------------------------------------------------------------


def test_of_two_saves_the_one_with_the_higher_number_counts():
    campaign = make_campaign(n_tasks=1)
    turn = next_assignment(make_annotator(campaign.project), campaign)
    assert draft(turn, 5, comment="second", csrf="x", **{"rank-A": "1"})
    assert not draft(turn, 4, comment="first, late")
    assert not draft(turn, 5, comment="again")
    assert filled_in(turn) == {"comment": ["second"], "rank-A": ["1"]}
    assert draft(turn, 6, choice="a") and filled_in(turn) == {"choice": ["a"]}


def test_a_draft_goes_with_its_judgement_and_a_late_packet_makes_none():
    campaign = make_campaign(n_tasks=1)
    turn = next_assignment(make_annotator(campaign.project), campaign)
    draft(turn, 1, comment="half")
    judge(turn)
    assert not draft(turn, 2, comment="late packet")
    assert not Draft.objects.exists()


def test_a_draft_survives_the_loss_of_its_lease():
    campaign = make_campaign(n_tasks=1)
    turn = next_assignment(make_annotator(campaign.project), campaign)
    draft(turn, 1, comment="half")
    Assignment.objects.update(leased_until=from_now(-1))
    expire_leases()
    turn.refresh_from_db()
    assert draft_of(turn).said == {"comment": ["half"]}
    assert draft(turn, 2, comment="more")


def test_a_draft_has_an_end_and_an_owner():
    campaign = make_campaign(n_tasks=1)
    ana, ben = make_people(campaign.project, 2)
    turn = next_assignment(ana, campaign)
    with pytest.raises(DomainError, match="at most"):
        draft(turn, 1, comment="x" * 100_001)
    with pytest.raises(DomainError, match="no such"):
        save_draft(assignment_key=turn.key, annotator=ben, fields={"comment": "x"}, number=1)
    assert draft(turn, 10**30, comment="x")


def test_what_was_taken_back_fills_the_form_in_again():
    campaign = make_campaign(n_tasks=1)
    turn = next_assignment(make_annotator(campaign.project), campaign)
    judge(turn, comment="So.")
    turn = undo_judgement(assignment_key=turn.key, annotator=turn.annotator)
    assert filled_in(turn) == {"choice": ["a"], "comment": ["So."]}


def test_t123_what_came_too_late_is_kept_for_copying_and_its_time_counts_once():
    campaign = make_campaign(n_tasks=1)
    ana, ben = make_people(campaign.project, 2)
    turn = next_assignment(ana, campaign)
    Assignment.objects.update(leased_until=from_now(-1))
    expire_leases()
    next_assignment(ben, campaign)
    for _ in range(3):
        with pytest.raises(Lost):
            judge(turn, comment="Much thought.", active_seconds=40.0, open_seconds=60.0)
    turn.refresh_from_db()
    assert draft_of(turn).said == {"choice": ["a"], "comment": ["Much thought."]}
    day = Workday.objects.get(place__annotator=ana)
    assert (day.n_returned, day.n_judged, day.active_seconds, day.open_seconds) == (1, 0, 40.0, 60.0)
    assert not Judgement.objects.exists()
    assert violations(campaign) == []


def test_work_is_noted_with_what_happens():
    campaign = make_campaign(n_tasks=3)
    ana = make_annotator(campaign.project)
    turn = next_assignment(ana, campaign)
    judge(turn, active_seconds=10.0, open_seconds=12.0)
    judge(turn, active_seconds=10.0, open_seconds=12.0)  # sent again: no work
    skip_assignment(assignment_key=next_assignment(ana, campaign).key, annotator=ana, active_seconds=5.0)
    day = Workday.objects.get()
    assert (day.n_judged, day.n_skipped, day.active_seconds) == (1, 1, 15.0)
    undo_judgement(assignment_key=turn.key, annotator=ana)
    day.refresh_from_db()
    assert day.n_judged == 0


# ---- one's past ----------------------------------------------------------------------------------------------------------


def _stand(n_tasks: int = 4):
    campaign = make_campaign(n_tasks=n_tasks)
    ana = make_annotator(campaign.project)
    turns = []
    while turn := next_assignment(ana, campaign):
        judge(turn)
        turns.append(turn)
    return campaign, ana, turns


def _mine(client, campaign, ana, query: str, **fields) -> tuple[int, str]:
    """How many rows the page of one's own judgements finds, and the page."""
    client.force_login(ana.user)
    url = reverse("annotation:mine", args=[campaign.project.slug, campaign.key])
    response = client.get(url, {"q": query, **fields})
    page = response.context["page"]
    assert len(page.rows) == page.page_obj.paginator.count
    return len(page.rows), response.content.decode()


@pytest.mark.parametrize("stored", ["by the ORM", "by an import"])
@pytest.mark.parametrize(
    ("query", "found"),
    [("lisbon", 1), ("LISBON", 1), ("Wie groß", 1), ("ÄRGER", 1), ("ärger wie", 1), ("lisbon ärger", 0), ("user", 0),
     ("content role", 0), ("tram", 1), ("20%", 0), ("_", 0), ('"quoted"', 1), ("thought", 1), ("a b c d e f g h xyz", 0)],
)  # fmt: skip
def test_words_are_found_in_prompts_answers_and_ones_own_comments(client, stored, query, found):
    campaign, ana, turns = _stand()
    first = Prompt.objects.filter(pk=turns[0].task.prompt_id)
    messages = [{"role": "user", "content": 'Wie groß ist der Ärger in "quoted" Lagen?'}]
    first.update(messages=messages)
    if stored == "by an import" and connection.vendor == "sqlite":  # which keeps what it is given, here without escapes
        with connection.cursor() as cursor:
            text = json.dumps(messages, ensure_ascii=False)
            cursor.execute("UPDATE generation_prompt SET messages = %s WHERE id = %s", [text, first.get().pk])
    slot = turns[1].task.slots.first()
    Candidate.objects.filter(pk=slot.candidate_id).update(text="Take the tram 28 in Lisbon.")
    correct(turns[2], comment="A deep thought. a b c d e f g h")
    Prompt.objects.filter(pk=turns[2].task.prompt_id).update(messages=[{"role": "user", "content": "Third?"}])
    assert _mine(client, campaign, ana, query)[0] == found


def test_the_page_holds_ones_own_work_alone_the_latest_first(client):
    campaign, ana, turns = _stand(2)
    ben = make_annotator(campaign.project, "Ben")
    assert _mine(client, campaign, ben, "")[0] == 0
    n_found, body = _mine(client, campaign, ana, "")
    assert n_found == 2 and body.index(turns[1].key) < body.index(turns[0].key)
    other = make_campaign(campaign.project, n_tasks=1)
    judge(next_assignment(ana, other))
    assert _mine(client, other, ana, "")[0] == 1


@pytest.mark.parametrize("name", ["mine", "judgements"])
def test_a_page_of_judgements_takes_as_many_queries_for_two_as_for_twelve(client, name):
    numbers = []
    for n_tasks in (2, 12):
        campaign, ana, _turns = _stand(n_tasks)
        Membership.objects.filter(user=ana.user).update(is_reviewer=True)
        client.force_login(ana.user)
        url = reverse(f"annotation:{name}", args=[campaign.project.slug, campaign.key])
        client.get(url)
        with CaptureQueriesContext(connection) as queries:
            body = client.get(url).content.decode()
        assert body.count("Question ") >= n_tasks
        numbers.append(len(queries))
    assert numbers[0] == numbers[1]


def test_words_are_found_in_what_one_has_skipped(client):
    campaign = make_campaign(n_tasks=1)
    ana = make_annotator(campaign.project)
    turn = next_assignment(ana, campaign)
    skip_assignment(assignment_key=turn.key, annotator=ana)
    Prompt.objects.update(messages=[{"role": "user", "content": "A lost tram?"}])
    assert _mine(client, campaign, ana, "tram", status="skipped")[0] == 1
    assert _mine(client, campaign, ana, "tram")[0] == 0


def test_a_search_that_stops_at_the_latest_says_so(client, monkeypatch):
    monkeypatch.setattr(past, "MOST_FOUND", 2)
    campaign, ana, turns = _stand(3)
    Prompt.objects.update(messages=[{"role": "user", "content": "A tram?"}])
    n_found, body = _mine(client, campaign, ana, "tram")
    assert n_found == 2 and "may fit were searched" in body
    undo_judgement(assignment_key=turns[0].key, annotator=ana)
    n_found, body = _mine(client, campaign, ana, "tram")
    assert n_found == 2 and "may fit were searched" not in body
