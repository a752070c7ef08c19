"""Simulated people at the real pages, over HTTP."""

import pytest

from accounts.models import Membership
from annotation.models import Annotator, Judgement
from annotation.pageclient import PageClient, PageProblem, read_page
from annotation.simulate import simulate, simulated_people, summary
from core.errors import DomainError
from generation.models import JobArm
from starter.judge import Preference, features
from tests.annotation.builders import (
    make_campaign,
    make_candidates,
    make_job,
    make_model,
    make_project,
    make_prompt,
    make_prompts,
)
from tests.annotation.checks import violations

GOOD, RUDE = "The capital of France is Paris. I hope that helps!", "What a stupid question. Leave me alone."


def judged_campaign(n_tasks: int = 6, overlap: int = 2):
    """Prompts of the starter's world, each with a good and a rude answer."""
    project = make_project()
    prompts = make_prompts(project, 1)
    prompts = [
        make_prompt(prompts[0].set, "What is the capital of France" + "?" * n, n + 2) for n in range(1, n_tasks + 1)
    ]
    job = make_job(project, prompts=prompts, n_answers=1, models=[make_model(project)])
    arm = JobArm.objects.get(job=job)
    arm.candidates.all().delete()
    for prompt in prompts:
        make_candidates(arm, prompt, [GOOD, RUDE])
    return make_campaign(project, job=job, overlap=overlap)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("javascript", [True, False])
def test_people_work_a_campaign_off_through_its_pages(live_server, javascript):
    campaign = judged_campaign()
    report = simulate(
        base_url=live_server.url, campaign=campaign, n_people=3, preference=Preference(noise=0.0), javascript=javascript
    )
    assert (report.n_judgements, report.n_lost) == (12, 0)
    assert violations(campaign) == []
    assert set(Judgement.objects.values_list("source", "verdict")) == {("simulated", "ranked")}
    assert {rank.candidate.text for j in Judgement.objects.all() for rank in j.ranks.filter(rank=1)} == {GOOD}
    assert "12 judgements by 3 simulated people" in summary(report)


@pytest.mark.django_db(transaction=True)
def test_the_number_of_judgements_is_kept_to_and_a_second_run_goes_on(live_server):
    campaign = judged_campaign(n_tasks=4)
    assert simulate(base_url=live_server.url, campaign=campaign, n_people=2, n_judgements=3).n_judgements == 3
    assert simulate(base_url=live_server.url, campaign=campaign, n_people=2).n_judgements == 5
    assert Annotator.objects.filter(kind="simulated").count() == 2
    assert violations(campaign) == []


@pytest.mark.django_db(transaction=True)
def test_a_site_that_answers_with_an_error_is_reported(live_server):
    with PageClient(live_server.url) as client, pytest.raises(PageProblem, match="404"):
        client.get("/nowhere/")


@pytest.mark.django_db
def test_simulated_people_are_marked_and_taken_again():
    project = make_project()
    first, again = simulated_people(project, 2), simulated_people(project, 3)
    assert first == again[:2]
    assert set(Annotator.objects.values_list("kind", flat=True)) == {"simulated"}
    assert Membership.objects.filter(project=project, is_annotator=True).count() == 3


@pytest.mark.django_db
def test_nobody_who_is_human_is_taken_for_simulated():
    project = make_project(slug="same")
    user = simulated_people(project, 1)[0]
    Annotator.objects.filter(user=user).update(kind="human")
    with pytest.raises(DomainError):
        simulated_people(project, 1)


def test_the_reader_sees_forms_answers_and_prompts_as_a_browser_does():
    page = read_page(
        """<h1>Which <b>one</b>?</h1><div data-role="user"><p class="eyebrow">Prompt</p><div><p>1 &lt; 2?</p></div></div>
        <div data-answer="a"><ol><li>Yes</li><li>Sure</li></ol></div><div data-answer="b"><p>No<br>never</p></div>
        <form id="judge" action="/x/"><input type="hidden" name="t" value="1"><input type="radio" name="r" value="2">
        <input type="checkbox" name="c" checked><select name="s"><option value="p"><option value="q" selected></select>
        <button name="choice" value="a">A</button><button disabled name="choice" value="b">B</button></form>
        <textarea name="note" form="judge">\nhi</textarea><a href="/on/">Go <i>on</i></a><script>var x = "<p>no</p>"</script>""",
        url="/",
    )
    form = page.form("/x/")
    assert form is not None and form is page.form(id="judge")
    assert form.fields == {"t": ["1"], "c": ["on"], "s": ["q"], "note": ["hi"]}
    assert form.buttons == [("choice", "a")]
    assert page.turns == [("user", "1 < 2?")]
    assert page.answers["a"].split() == ["Yes", "Sure"] and page.answers["b"].split() == ["No", "never"]
    assert page.headings == ["Which one?"] and page.links == [("Go on", "/on/")]
    assert "no" not in page.text.split()


@pytest.mark.django_db(transaction=True)
def test_what_a_simulated_person_reads_is_what_the_model_wrote(live_server):
    """Markdown must not change how an answer is judged."""
    campaign = judged_campaign(n_tasks=1, overlap=1)
    client = PageClient(live_server.url)
    from accounts.invitations import issue_sign_in_link

    client.open_link(issue_sign_in_link(simulated_people(campaign.project, 1)[0]))
    start = f"/p/{campaign.project.slug}/annotate/campaign/{campaign.key}/"
    page = client.submit(client.get(start), start)
    prompt = page.turns[-1][1]
    assert {features(prompt, text) for text in page.answers.values()} == {
        features(prompt, text) for text in (GOOD, RUDE)
    }
    client.close()


OKAY = "Paris."
TRUE = {"name": "true", "label": "True", "kind": "rate", "levels": 5}
KIND = {"name": "kind", "label": "Kind", "kind": "compare", "levels": 3}


def campaign_of(kind: str, n_answers: int = 2, **options):
    """As above, with an answer that is right and short between the good and the rude one."""
    project = make_project()
    prompt_set = make_prompts(project, 1)[0].set
    prompts = [make_prompt(prompt_set, "What is the capital of France" + "?" * n, n + 2) for n in range(1, 4)]
    job = make_job(project, prompts=prompts, n_answers=1)
    arm = JobArm.objects.get(job=job)
    arm.candidates.all().delete()
    for prompt in prompts:
        make_candidates(arm, prompt, [GOOD, RUDE, OKAY][:n_answers])
    pairing = {"pairs": "within", "n_answers": n_answers} if n_answers > 2 else None
    return make_campaign(project, job=job, kind=kind, pairing=pairing, **options)


def ranks_by_text(judgement: Judgement) -> dict[str, int]:
    return {rank.candidate.text: rank.rank for rank in judgement.ranks.select_related("candidate")}


@pytest.mark.django_db(transaction=True)
def test_people_rank_several_answers_by_what_they_care_for(live_server):
    campaign = campaign_of("rank", 3)
    report = simulate(base_url=live_server.url, campaign=campaign, n_people=1, preference=Preference(noise=0.0))
    assert (report.n_judgements, report.n_lost) == (3, 0)
    for judgement in Judgement.objects.all():
        assert ranks_by_text(judgement) == {
            OKAY: 1,
            GOOD: 2,
            RUDE: 3,
        }  # both are right, and the short one is liked more


@pytest.mark.django_db(transaction=True)
def test_people_rate_answers_and_say_all_that_is_asked(live_server):
    protocol = {
        "criteria": [TRUE],
        "reasons": ["Wrong", "Rude"],
        "needs_reason": True,
        "comment": "required",
        "min_comment": 30,
    }
    campaign = campaign_of("rate", protocol=protocol)
    simulate(base_url=live_server.url, campaign=campaign, n_people=1, preference=Preference(noise=0.0))
    assert Judgement.objects.count() == 3
    for judgement in Judgement.objects.all():
        values = {score.candidate.text: score.value for score in judgement.scores.select_related("candidate")}
        assert values[GOOD] > values[RUDE] and ranks_by_text(judgement)[GOOD] == 1
        assert len(judgement.comment) >= 30 and len(judgement.reasons) == 1


@pytest.mark.django_db(transaction=True)
def test_people_compare_by_criteria_on_scales_and_find_ties(live_server):
    campaign = campaign_of("pair", strength_levels=3, protocol={"criteria": [TRUE, KIND]})
    simulate(base_url=live_server.url, campaign=campaign, n_people=1, preference=Preference(noise=0.0))
    for judgement in Judgement.objects.all():
        assert judgement.strength == 3 and ranks_by_text(judgement) == {GOOD: 1, RUDE: 2}
        assert abs(judgement.scores.get(criterion="kind").value) == 3
    same = campaign_of("pair", allow_both_good=True, guidelines="Be fair.", is_sensitive=True)
    simulate(base_url=live_server.url, campaign=same, n_people=1, ties=100.0)
    assert set(Judgement.objects.filter(assignment__task__campaign=same).values_list("verdict", flat=True)) <= {
        "both_good", "all_bad",
    }  # fmt: skip
    assert Judgement.objects.count() == 6
