"""From a model down to every judgement, annotator, prompt, answer and sampling setting, and from a judgement up again."""

import pytest

from annotation.models import Judgement
from tests.training.judged import (
    freeze,
    make_adapter,
    make_annotator,
    make_arm,
    make_judged,
    make_project,
    make_version,
)
from training.formats.files import read_lineage
from training.lineage import judgements_behind, lineage_of, uses_of, versions_using
from training.models import TrainingRun
from training.snapshots import directory_of

pytestmark = pytest.mark.django_db


def train(base, snapshot, slug, *, method="dpo", status="succeeded"):
    version = make_adapter(base, slug)
    TrainingRun.objects.create(
        project=base.project, method=method, base=base, snapshot=snapshot, produced=version, status=status
    )
    return version


class TwoRounds:
    """start -> first (on campaign one) -> second (on campaigns one and two, continuing the adapter)."""

    def __init__(self):
        self.project = make_project()
        self.start = make_version(self.project, "start", source="/m")
        self.one = make_judged(self.project, ["A", "B", "A"], n_held_out=1, arm=make_arm(self.project, self.start))
        self.data_one = freeze(self.project, [self.one])
        self.first = train(self.start, self.data_one, "first")
        arm = make_arm(self.project, self.first)
        arm.sampling = {"temperature": 0.7}
        arm.save(update_fields=["sampling"])
        self.two = make_judged(self.project, ["B", "A"], arm=arm)
        self.data_two = freeze(self.project, [self.one, self.two])
        self.second = train(self.first, self.data_two, "second")


def judgements(campaign):
    return list(Judgement.objects.filter(assignment__task__campaign=campaign).order_by("pk"))


def keys_behind(version):
    return set(judgements_behind(version).values_list("key", flat=True))


def test_a_model_names_every_judgement_that_it_or_its_parents_learnt_from():
    rounds = TwoRounds()
    trained_one, trained_two = judgements(rounds.one)[:2], judgements(rounds.two)
    assert keys_behind(rounds.first) == {j.key for j in trained_one}
    assert keys_behind(rounds.second) == {j.key for j in [*trained_one, *trained_two]}
    assert judgements_behind(rounds.second).count() == 4, "a judgement that two snapshots hold counts once"
    assert not judgements_behind(rounds.start).exists()


def test_the_lineage_counts_by_snapshot_campaign_and_job():
    rounds = TwoRounds()
    lineage = lineage_of(rounds.second)
    assert [step.version for step in lineage.steps] == [rounds.second, rounds.first, rounds.start]
    newest, before, root = lineage.steps
    assert (newest.n_judgements, newest.n_train, newest.n_held_out, newest.n_people) == (5, 4, 1, 2)
    assert [(source.name, source.n_judgements) for source in newest.sources] == sorted(
        [(rounds.one.name, 3), (rounds.two.name, 2)],
        key=lambda s: {rounds.one.name: rounds.one.key, rounds.two.name: rounds.two.key}[s[0]],
    )
    assert {(w.arm.model_version, w.n_judgements) for w in newest.writers} == {(rounds.start, 3), (rounds.first, 2)}
    assert {w.arm.sampling.get("temperature") for w in newest.writers} == {None, 0.7}
    assert (before.snapshot, before.run.produced, root.run) == (rounds.data_one, rounds.first, None)


def test_nothing_on_the_way_down_is_missing():
    """Model -> rows -> judgements -> annotator, prompt, answers -> arm -> version and settings: no hole, no surprise."""
    rounds = TwoRounds()
    found = set()
    for step in lineage_of(rounds.second).steps:
        if step.snapshot is None:
            continue
        for entry in read_lineage(directory_of(step.snapshot)):
            for part in entry["judgements"]:
                judgement = Judgement.objects.get(key=part["key"])
                assert judgement.memberships.filter(snapshot=step.snapshot).exists()
                assert judgement.assignment.annotator.pseudonym and judgement.assignment.task.prompt.messages
                for rank in judgement.ranks.all():
                    assert rank.candidate.arm.model_version and rank.candidate.arm.sampling is not None
                if entry["split"] == "train":
                    found.add(judgement.key)
    assert found == keys_behind(rounds.second)


def test_a_judgement_names_every_model_that_learnt_from_it():
    rounds = TwoRounds()
    early, late, held_out = judgements(rounds.one)[0], judgements(rounds.two)[0], judgements(rounds.one)[2]
    assert versions_using(early) == (rounds.first, rounds.second)
    assert versions_using(late) == (rounds.second,)
    assert versions_using(held_out) == ()
    assert [(use.snapshot, use.split) for use in uses_of(held_out)] == [
        (rounds.data_one, "test"),
        (rounds.data_two, "test"),
    ]


def test_a_model_that_continues_from_a_user_of_the_judgement_uses_it_too():
    rounds = TwoRounds()
    third = train(rounds.second, freeze(rounds.project, [make_judged(rounds.project, ["A"])]), "third")
    assert third in versions_using(judgements(rounds.one)[0])
    assert judgements(rounds.one)[0] in judgements_behind(third)


def test_up_and_down_agree_for_every_judgement_and_every_model():
    rounds = TwoRounds()
    train(rounds.start, rounds.data_two, "sibling")
    for judgement in Judgement.objects.all():
        for version in rounds.project.model_versions.all():
            assert (version in versions_using(judgement)) == (judgement in judgements_behind(version))


def test_a_judgement_that_was_left_out_made_nothing():
    rounds = TwoRounds()
    simulated = make_judged(rounds.project, ["A"], annotator=make_annotator(rounds.project, kind="simulated"))
    make_judged(rounds.project, ["A"], campaign=simulated)
    data = freeze(rounds.project, [simulated])
    train(rounds.start, data, "later")
    left_out, taken = judgements(simulated)
    assert versions_using(left_out) == () and uses_of(left_out) == ()
    assert [v.slug for v in versions_using(taken)] == ["later"]
