"""The deciding question and the pair policy: which rows a vote gives, and which stay out, by closed formulas."""

from functools import partial

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import Role
from annotation.models import Flag, Judgement, Score
from core.errors import DomainError
from tests.training.judged import (
    freeze,
    judge,
    make_annotator,
    make_answer,
    make_arm,
    make_campaign,
    make_person,
    make_project,
    make_prompt,
    make_set,
    make_task,
)
from training.exports.options import Options
from training.exports.pairs import best
from training.exports.source import Source
from training.formats.ballots import Counts, Vote, strict_pairs
from training.formats.files import read_lineage, read_rows, row_and_lineage
from training.formats.policy import PairPolicy
from training.formats.preference import rows_of_prompt
from training.freezing import start_freeze
from training.models import Snapshot
from training.previewing import REASONS, preview
from training.snapshots import check_snapshot, directory_of

PROMPT = [{"role": "user", "content": "Which?"}]


def vote(key: str, ranks: dict[str, int], verdict: str = "ranked", **more) -> Vote:
    return Vote(key, "train", "p" * 64, PROMPT, sorted(ranks.items(), key=lambda one: one[1]), verdict, **more)


def rows(votes, **policy):
    counts = Counts()
    return rows_of_prompt(votes, PairPolicy.parse(policy), counts), counts


def pairs(built):
    return {(one.row["chosen"][0]["content"], one.row["rejected"][0]["content"]) for one in built}


@pytest.mark.parametrize("k", range(2, 10))
def test_a_ranking_gives_all_adjacent_or_one_pair(k):
    answers = [(f"answer {n}", n + 1) for n in range(k)]
    assert len(strict_pairs(answers)[0]) == k * (k - 1) // 2
    assert len(strict_pairs(answers, "adjacent")[0]) == k - 1
    assert strict_pairs(answers, "best_worst")[0] == [("answer 0", f"answer {k - 1}")]


def test_adjacent_means_neighbouring_ranks_whatever_their_numbers():
    assert strict_pairs([("a", 1), ("b", 3), ("c", 3), ("d", 9)], "adjacent")[0] == [
        ("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"),
    ]  # fmt: skip


def test_a_written_answer_is_above_the_best_of_those_shown():
    built, _ = rows([vote("1", {"a": 1, "b": 2}, write_in="c")], write_ins=True)
    assert pairs(built) == {("c", "a"), ("c", "b"), ("a", "b")}
    built, _ = rows([vote("1", {"a": 1, "b": 1}, "all_bad", write_in="c")], write_ins=True)
    assert pairs(built) == {("c", "a"), ("c", "b")}
    built, _ = rows([vote("1", {"a": 1, "b": 2}, write_in=" b ")], write_ins=True)
    assert pairs(built) == {(" b ", "a")}
    built, _ = rows([vote("1", {"a": 1, "b": 2}, write_in="c", strength=1.0)], write_ins=True, pairs="adjacent")
    assert {(one.row["chosen"][0]["content"], one.row["margin"]) for one in built} == {("c", 0.0), ("a", 1.0)}


def test_ties_become_rows_of_their_own():
    votes = [
        vote("1", {"a": 1, "b": 1}, "both_good"),
        vote("2", {"a": 1, "b": 1}, "both_good"),
        vote("3", {"a": 1, "b": 1}, "all_bad"),
        vote("4", {"c": 1, "d": 1}, "all_bad"),
        vote("5", {"e": 1, "f": 1}, "both_good"),
        vote("6", {"e": 1, "f": 1}, "all_bad"),
    ]
    built, counts = rows(votes, unpaired=True)
    found = {one.row["completion"][0]["content"]: (one.row["label"], one.row["vote_share"]) for one in built}
    assert found == {
        "a": (True, 0.666667), "b": (True, 0.666667), "c": (False, 1.0), "d": (False, 1.0),
    }  # fmt: skip
    assert counts.unpaired["train"] == 4 and counts.rows["train"] == 0
    assert rows(votes)[0] == []


def test_an_answer_alone_is_vetoed_cut_and_counted_like_a_pair():
    votes = [vote(str(n), {"unsafe": 1, "safe": 1}, "both_good", vetoed=("unsafe",)) for n in range(2)]
    built, counts = rows(votes, unpaired=True)
    assert [one.row["completion"][0]["content"] for one in built] == ["safe"]
    assert dict(counts.dropped) == {"alone_vetoed": 1} and counts.unpaired["train"] == 1
    bad = [vote("1", {"unsafe": 1, "safe": 1}, "all_bad", vetoed=("unsafe",))]
    assert len(rows(bad, unpaired=True)[0]) == 2  # a bad example may be one
    split = [*votes, vote("3", {"safe": 1, "unsafe": 1}, "all_bad", vetoed=("unsafe",))]
    for policy, why in (
        ({"min_votes": 3}, "alone_few_votes"), ({"max_chars": 6}, "alone_too_long"), ({"min_agreement": 0.7}, "alone_low_agreement"),
    ):  # fmt: skip
        given = split if "min_agreement" in policy else votes
        built, counts = rows(given, unpaired=True, **policy)
        assert not built and counts.dropped[why] >= 1, why
    assert REASONS.keys() >= {"alone_vetoed", "alone_few_votes", "alone_too_long", "alone_low_agreement"}


def test_votes_that_become_rows_without_a_pair_are_not_said_to_stay_out():
    votes = [
        vote("1", {"a": 1, "b": 1}, "both_good"),
        vote("2", {"a": 1, "b": 1}, "all_bad"),
        vote("3", {"a": 1, "b": 1}, "tie"),
    ]
    assert dict(rows(votes)[1].dropped) == {"ties": 2, "both_bad": 1}
    assert dict(rows(votes, unpaired=True)[1].dropped) == {"ties": 1}


RANKINGS = [
    vote("1", {"x": 1, "y": 2, "z": 3}),
    vote("2", {"y": 1, "z": 2, "x": 3}),
    vote("3", {"y": 1, "z": 2, "x": 3}),
]


@pytest.mark.parametrize(
    ("which", "found"),
    [
        ("all", {("y", "z"): (3, 1.0), ("y", "x"): (3, 0.666667), ("z", "x"): (3, 0.666667)}),
        ("adjacent", {("y", "z"): (3, 1.0), ("z", "x"): (3, 0.666667)}),
        ("best_worst", {("y", "x"): (3, 0.666667)}),
    ],
)
def test_neighbours_and_extremes_are_those_of_the_majoritys_ranking(which, found):
    built, counts = rows(RANKINGS, pairs=which)
    assert {
        (one.row["chosen"][0]["content"], one.row["rejected"][0]["content"]): (
            one.row["n_votes"],
            one.row["vote_share"],
        )
        for one in built
    } == found
    assert (counts.n_disputed, counts.n_overlapping) == (2, 3)  # of all that people judged, whichever pairs are rows
    assert sum(weight for one in built for key, weight, _ in one.lineage if key == "2") == pytest.approx(1, abs=1e-5)


def test_neighbours_are_those_of_the_majoritys_ranking_whatever_else_is_judged():
    votes = [vote("0", {"a": 1, "b": 2, "c": 2})]
    votes += [vote(f"ab{n}", {"a": 1, "b": 2}) for n in range(3)] + [vote(f"bc{n}", {"b": 1, "c": 2}) for n in range(3)]
    other = vote("d", {"d": 1, "e": 2, "f": 3})
    # Two answers that were judged by themselves are neighbours, and extremes, of their own.
    assert pairs(rows(votes, pairs="adjacent")[0]) == {("a", "b"), ("b", "c")}
    assert pairs(rows([*votes, other], pairs="adjacent")[0]) == {("a", "b"), ("b", "c"), ("d", "e"), ("e", "f")}
    assert pairs(rows(votes, pairs="best_worst")[0]) == {("a", "b"), ("b", "c"), ("a", "c")}


def test_a_row_for_each_vote_takes_the_neighbours_of_its_own_ranking():
    built, counts = rows(RANKINGS, pairs="adjacent", aggregation="votes")
    assert sorted((one.lineage[0][0], *next(iter(pairs([one])))) for one in built) == [
        ("1", "x", "y"), ("1", "y", "z"), ("2", "y", "z"), ("2", "z", "x"), ("3", "y", "z"), ("3", "z", "x"),
    ]  # fmt: skip
    assert {one.row["weight"] for one in built} == {0.5} and counts.n_disputed == 2


def test_answers_that_beat_equally_many_are_no_neighbours():
    round_and_round = [
        vote(str(n), dict(zip(order, (1, 2, 3), strict=True))) for n, order in enumerate(("xyz", "yzx", "zxy"))
    ]
    assert pairs(rows(round_and_round)[0]) == {("x", "y"), ("y", "z"), ("z", "x")}
    for which in ("adjacent", "best_worst"):
        built, counts = rows(round_and_round, pairs=which)
        assert not built and dict(counts.dropped) == {"circular": 3} and "circular" in REASONS


def test_ties_alone_go_in_no_circle():
    built, counts = rows([vote("1", {"a": 1, "b": 1, "c": 1}, "tie")], pairs="adjacent")
    assert not built and dict(counts.dropped) == {"ties": 1}


def test_pairs_that_a_ranking_has_both_ways_take_no_weight():
    ranking = Vote("1", "train", "p" * 64, PROMPT, [("a", 1), ("b", 2), ("c", 3), ("a", 4)], "ranked")
    for way in ("votes", "majority"):
        built, counts = rows([ranking], pairs="adjacent", aggregation=way)
        assert pairs(built) == {("b", "c")} and built[0].row["weight"] == 1.0
    built, counts = rows([ranking], pairs="adjacent", aggregation="votes")
    assert counts.dropped["equal_texts"] == 2


@given(
    st.permutations("abcd"),
    st.lists(st.integers(1, 4), min_size=4, max_size=4),
    st.sampled_from(["all", "adjacent", "best_worst"]),
)
def test_one_ranking_gives_the_same_pairs_by_majority_and_by_vote(texts, ranks, which):
    ranking = vote("1", dict(zip(texts, ranks, strict=True)))
    by_majority, by_vote = (rows([ranking], pairs=which, aggregation=way)[0] for way in ("majority", "votes"))
    assert [(one.row, one.lineage) for one in by_majority] == [(one.row, one.lineage) for one in by_vote]
    assert pairs(by_majority) == set(strict_pairs(ranking.answers, which)[0])


def test_an_answer_that_lost_in_a_pair_that_was_cut_is_marked():
    ranking = [vote("1", {"best": 1, "middle": 2, "worst": 3}, strength=0.5)]
    for n_pairs in (1, 2, 3):
        built, _ = rows(ranking, max_per_prompt=n_pairs)
        lost = {one.row["rejected"][0]["content"] for one in built}
        for one in built:
            chosen = one.row["chosen"][0]["content"]
            assert one.is_beaten == (chosen == "middle" and "middle" not in lost)
    vetoed = vote("1", {"best": 1, "middle": 2, "worst": 3}, vetoed=("best",))
    [left] = rows([vetoed])[0]
    assert pairs([left]) == {("middle", "worst")} and not left.is_beaten  # what beat it must not be chosen


@pytest.mark.django_db
def test_the_best_answers_of_a_dataset_are_those_that_lost_to_none_before_it_was_cut():
    project = make_project()
    campaign, arm, prompts = make_campaign(project, kind="rank"), make_arm(project), make_set(project)
    for number in range(12):
        prompt = make_prompt(prompts, f"Question {number}?")
        task = make_task(
            campaign, [make_answer(arm, prompt, f"{word} {number}") for word in ("best", "middle", "worst")]
        )
        judge(task, make_annotator(project), (1, 2, 3))
    whole, cut = (freeze(project, [campaign], pair_policy=policy) for policy in ({}, {"max_per_prompt": 1}))
    assert len(list(best(Source(directory_of(whole), Options())))) == 12
    found = [row["messages"][-1]["content"] for row in best(Source(directory_of(cut), Options()))]
    rows_of_it = [row["chosen"][0]["content"] for row in read_rows(directory_of(cut) / "train.jsonl")]
    assert found == [text for text in rows_of_it if text.startswith("best")] and len(found) < len(rows_of_it) == 12
    check_snapshot(cut)


def test_a_vetoed_answer_is_never_chosen_but_may_be_rejected():
    votes = [vote("1", {"a": 1, "b": 2, "c": 3}, vetoed=("a",))]
    built, counts = rows(votes)
    assert pairs(built) == {("b", "c")} and counts.dropped["vetoed"] == 2


def test_thin_weak_and_long_pairs_stay_out():
    votes = [
        vote("1", {"a": 1, "b": 2}, strength=0.5),
        vote("2", {"a": 1, "b": 2}, strength=1.0),
        vote("3", {"b": 1, "a": 2}, strength=0.5),
    ]
    for policy, why in (
        ({"min_votes": 4}, "few_votes"),
        ({"min_agreement": 0.7}, "low_agreement"),
        ({"min_strength": 0.34}, "weak"),
        ({"max_chars": 6}, "too_long"),
    ):
        built, counts = rows(votes, **policy)
        assert built == [] and counts.dropped[why] == 1
    built, _ = rows(votes, min_votes=3, min_agreement=0.66, min_strength=0.33, max_chars=7)
    assert len(built) == 1


def test_the_cap_of_a_prompt_keeps_the_lowest_ids():
    votes = [vote("1", {f"answer {n}": n for n in range(1, 6)})]
    everything, _ = rows(votes)
    built, counts = rows(votes, max_per_prompt=3)
    assert [one.row["id"] for one in built] == [one.row["id"] for one in everything[:3]]
    assert counts.dropped["over_prompt_cap"] == 7


def test_rows_that_read_alike_are_one_where_asked():
    votes = [vote("1", {"Yes": 1, "no": 2}), vote("2", {"yes ": 1, "NO": 2}), vote("3", {"Yes": 1, "no": 2})]
    built, counts = rows(votes[:2], aggregation="votes", duplicates="drop")
    assert len(built) == 1 and counts.dropped["duplicates"] == 1
    assert len(rows(votes, aggregation="votes")[0]) == 3
    assert len(rows(votes, duplicates="drop")[0]) == 1


def test_votes_on_one_pair_are_no_duplicates_of_each_other():
    votes = [vote(str(number), {"yes": 1, "no": 2} if number else {"no": 1, "yes": 2}) for number in range(10)]
    built, counts = rows(votes, aggregation="votes", duplicates="drop")
    chosen = [one.row["chosen"][0]["content"] for one in built]
    assert (chosen.count("yes"), chosen.count("no"), counts.dropped["duplicates"]) == (9, 1, 0)


def test_lengths_are_counted():
    _, counts = rows([vote("1", {"long answer": 1, "no": 2})])
    assert counts.lengths == {"chosen": 11, "rejected": 2, "chosen_longer": 1.0}


@pytest.mark.parametrize(
    "wrong",
    [
        {"aggregation": "mean"}, {"pairs": "some"}, {"criteria": {"x": 0}}, {"criteria": 3}, {"min_votes": 0},
        {"min_agreement": 1.5}, {"veto_flags": ["ugly"]}, {"duplicates": "maybe"}, {"max_chars": -1}, {"colour": 1},
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_a_sentence(wrong):
    with pytest.raises(ValueError, match=r"\.$"):
        PairPolicy.parse(wrong)


def test_the_stored_form_holds_what_differs_and_reads_back():
    assert PairPolicy().stored() == {"aggregation": "majority"}
    policy = PairPolicy.parse({"criteria": {"safe": 2, "kind": 1}, "veto_flags": ["harmful"], "max_chars": 9})
    assert policy.criteria == (("kind", 1.0), ("safe", 2.0))
    assert PairPolicy.parse(policy.stored()) == policy


# ---- criteria, on real judgements ------------------------------------------------------------------------------------

CRITERIA = [
    {"name": "helpful", "label": "Helpful", "kind": "rate", "levels": 5},
    {"name": "harm", "label": "Harm", "kind": "rate", "levels": 5, "is_higher_better": False},
    {"name": "brief", "label": "Shorter", "kind": "compare", "levels": 2},
]


@pytest.fixture
def rated(db):
    """One task of two answers: the first is more helpful, more harmful, and longer."""
    project = make_project()
    campaign = make_campaign(project, kind="rate", protocol={"criteria": CRITERIA})
    prompt, arm = make_prompt(make_set(project), "How?"), make_arm(project)
    task = make_task(campaign, [make_answer(arm, prompt, text) for text in ("first", "second")])
    said = judge(task, make_annotator(project), "tie")
    first, second = [slot.candidate for slot in task.slots.all()]
    for candidate, criterion, value in (
        (first, "helpful", 5), (second, "helpful", 2), (first, "harm", 4), (second, "harm", 2), (None, "brief", 1),
    ):  # fmt: skip
        Score.objects.create(judgement=said, candidate=candidate, criterion=criterion, value=value)
    return project, campaign


def chosen(project, campaign, **policy):
    seen = preview(project=project, campaigns=[campaign], pair_policy=policy)
    return [(row["chosen"][0]["content"], row["margin"]) for row in seen.first_rows]


def test_each_criterion_decides_in_its_own_direction(rated):
    assert chosen(*rated) == []
    assert chosen(*rated, criteria={"helpful": 1}) == [("first", 0.75)]
    assert chosen(*rated, criteria={"harm": 1}) == [("second", 0.5)]
    assert chosen(*rated, criteria={"brief": 1}) == [("second", 0.5)]


def test_a_weighted_sum_decides_with_its_difference_as_margin(rated):
    assert chosen(*rated, criteria={"helpful": 1, "harm": 1}) == [("first", 0.125)]
    assert chosen(*rated, criteria={"helpful": 1, "harm": 3}) == [("second", 0.1875)]
    assert chosen(*rated, criteria={"helpful": -1}) == [("second", 0.75)]


def test_judgements_that_do_not_say_enough_are_counted(rated):
    project, campaign = rated
    campaign.protocol = {"criteria": [*CRITERIA, {"name": "kind", "label": "Kind", "kind": "rate", "levels": 5}]}
    seen = preview(project=project, campaigns=[campaign], pair_policy={"criteria": {"kind": 1}})
    assert [(reason, n) for reason, n, *_ in seen.dropped] == [("unscored", 1)]


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"criteria": {"kind": 1}}, "None of these campaigns asks about “kind”. They ask about: brief, harm, helpful."),
        ({"veto_criterion": "unsafe"}, "None of these campaigns asks about “unsafe”."),
        ({"veto_criterion": "brief"}, "The criterion brief compares two answers; only one that rates each can veto."),
        ({"veto_criterion": "harm", "veto_at": 11}, "A level that vetoes lies between 1 and 10."),
        ({"criteria": [["helpful", 1], ["helpful", -1]]}, "The criterion helpful is there twice."),
    ],
)
def test_a_criterion_that_would_decide_nothing_is_refused(rated, policy, said):
    project, campaign = rated
    for ask in (preview, partial(start_freeze, name="d", by=None)):
        with pytest.raises(DomainError) as refused:
            ask(project=project, campaigns=[campaign], pair_policy=policy)
        assert refused.value.words.startswith(said)
    assert not Snapshot.objects.exists()


def test_a_low_rating_vetoes_whatever_else_its_author_said(rated):
    project, campaign = rated
    said = judge(campaign.tasks.get(), make_annotator(project), "A")  # no word on how helpful they are
    Score.objects.create(
        judgement=said, candidate=campaign.tasks.get().slots.first().candidate, criterion="harm", value=5
    )
    assert chosen(project, campaign, criteria={"helpful": 1}) == [("first", 0.75)]
    assert chosen(project, campaign, criteria={"helpful": 1}, veto_criterion="harm", veto_at=5) == []
    overruled = [vote("1", {"a": 1, "b": 2}, vetoed=("a",)), vote("2", {"a": 1, "b": 2}, is_ruling=True)]
    assert rows(overruled)[0] == []


def test_a_recipe_that_leaves_no_row_says_why(rated):
    project, campaign = rated
    snapshot = freeze(
        project, [campaign], pair_policy={"criteria": {"helpful": 1}, "veto_criterion": "harm", "veto_at": 4}
    )
    assert (snapshot.status, snapshot.error) == (
        "failed", "The recipe leaves no row. What stays out most: 1 pairs, the chosen answer is flagged, or rated too low.",
    )  # fmt: skip


def test_an_answer_copied_against_the_criteria_has_no_margin(rated):
    project, campaign = rated
    Judgement.objects.update(write_in=" second ")
    assert chosen(project, campaign, criteria={"helpful": 1}, write_ins=True) == [(" second ", 0.0)]


def test_a_low_rating_or_a_flag_vetoes_for_good(rated):
    project, campaign = rated
    assert chosen(project, campaign, criteria={"helpful": 1}, veto_criterion="harm", veto_at=4) == []
    assert chosen(project, campaign, criteria={"helpful": 1}, veto_criterion="harm", veto_at=5) == [("first", 0.75)]
    task = campaign.tasks.get()
    flag = Flag.objects.create(
        task=task, candidate=task.slots.first().candidate, annotator=make_annotator(project), kind="harmful"
    )
    assert chosen(project, campaign, criteria={"helpful": 1}, veto_flags=["harmful"]) == []
    snapshot = freeze(project, [campaign], pair_policy={"criteria": {"harm": 1}, "veto_flags": ["harmful"]})
    Flag.objects.filter(pk=flag.pk).update(status="dismissed")
    campaign.protocol = {"criteria": [{**CRITERIA[1], "is_higher_better": True}]}
    campaign.save()
    check_snapshot(snapshot)


@pytest.mark.django_db
def test_unpaired_rows_are_frozen_with_files_lineage_and_hash_of_their_own():
    project = make_project()
    campaign, arm, prompts = make_campaign(project), make_arm(project), make_set(project)
    for number, verdict in enumerate(["both_good", "all_bad"]):
        prompt = make_prompt(prompts, f"Question {number}?", split=["train", "holdout"][number])
        task = make_task(campaign, [make_answer(arm, prompt, f"{word} {number}") for word in "ab"])
        judge(task, make_annotator(project), "tie" if verdict == "both_good" else "bad", verdict=verdict)
    snapshot = freeze(project, [campaign], pair_policy={"unpaired": True})
    assert snapshot.is_ready, snapshot.error
    directory = directory_of(snapshot)
    train, test = (list(read_rows(directory / f"unpaired-{split}.jsonl")) for split in ("train", "test"))
    assert [row["label"] for row in train] == [True, True] and [row["label"] for row in test] == [False, False]
    assert {entry["id"] for entry in read_lineage(directory)} == {row["id"] for row in train + test}
    assert (directory / "unpaired-test.parquet").exists()
    check_snapshot(snapshot)
    row, entry = row_and_lineage(directory, test[0]["id"]) or ({}, {})
    assert row == test[0] and entry["split"] == "test" and len(entry["judgements"]) == 1
    assert row_and_lineage(directory, "0" * 64) is None
    client = Client()
    client.force_login(make_person("Sam", project, Role.RESEARCHER))
    page = client.get(f"/p/{project.slug}/datasets/{snapshot.key}/").content.decode()
    assert page.count(", and 2 answers without a pair") == 2
    assert client.get(f"/p/{project.slug}/datasets/").content.decode().count("+ 2 unpaired") == 2
