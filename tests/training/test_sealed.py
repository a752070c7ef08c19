"""T169: what was frozen is refused every change, by the ORM and by SQL; its bytes and its hash stay."""

from collections.abc import Callable

import pytest
from django.apps import apps
from django.db import IntegrityError, connection, models, transaction
from django.db.models.signals import post_migrate, pre_migrate
from django.utils import timezone

from tests.training.judged import freeze, judge, make_annotator, make_judged, make_project
from training.models import Snapshot, SnapshotJudgement
from training.sealed import guard
from training.snapshots import check_snapshot

pytestmark = pytest.mark.django_db


@pytest.fixture
def frozen() -> Snapshot:
    project = make_project()
    return freeze(project, [make_judged(project)])


def sql(statement: str) -> Callable[[Snapshot], None]:
    def run(snapshot: Snapshot) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement, {"pk": snapshot.pk})

    return run


CHANGES: dict[str, Callable[[Snapshot], object]] = {
    "delete members": lambda one: one.members.all().delete(),
    "delete one": lambda one: one.members.first().delete(),
    "move one": lambda one: one.members.filter(pk=one.members.first().pk).update(split="test"),
    "write all": lambda one: SnapshotJudgement.objects.filter(snapshot=one).update(snapshot_id=one.pk),
    "delete it": lambda one: one.delete(),
    "another recipe": lambda one: Snapshot.objects.filter(pk=one.pk).update(pair_policy={"aggregation": "votes"}),
    "another hash": lambda one: Snapshot.objects.filter(pk=one.pk).update(sha256="0" * 64),
    "another key": lambda one: Snapshot.objects.filter(pk=one.pk).update(key="another-key2"),
    "another project": lambda one: Snapshot.objects.filter(pk=one.pk).update(project=make_project()),
    "another moment": lambda one: Snapshot.objects.filter(pk=one.pk).update(sealed_at=timezone.now()),
    "other facts": lambda one: Snapshot.objects.filter(pk=one.pk).update(facts={"models": ["its own"]}),
    "no hash": lambda one: Snapshot.objects.filter(pk=one.pk).update(sha256=""),
    "members by SQL": sql("DELETE FROM training_snapshotjudgement WHERE snapshot_id = %(pk)s"),
    "split by SQL": sql("UPDATE training_snapshotjudgement SET split = 'test' WHERE snapshot_id = %(pk)s"),
    "recipe by SQL": sql("UPDATE training_snapshot SET selection = '{}' WHERE id = %(pk)s"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_t169_a_change_of_what_was_frozen_is_refused(frozen, change):
    before = (frozen.sha256, frozen.artifact_sha256, list(frozen.members.order_by("pk").values_list()))
    with pytest.raises(IntegrityError, match="A frozen dataset does not change"), transaction.atomic():
        change(frozen)
    frozen.refresh_from_db()
    assert (frozen.sha256, frozen.artifact_sha256, list(frozen.members.order_by("pk").values_list())) == before
    check_snapshot(frozen)


@pytest.mark.parametrize("many", [False, True])
def test_t169_nothing_joins_what_was_frozen(frozen, many):
    judgement = judge(frozen.campaigns.get().tasks.first(), make_annotator(frozen.project), "A")
    row = SnapshotJudgement(snapshot=frozen, judgement=judgement)
    with pytest.raises(IntegrityError, match="A frozen dataset does not change"), transaction.atomic():
        SnapshotJudgement.objects.bulk_create([row]) if many else row.save()
    check_snapshot(frozen)


def test_what_is_no_part_of_the_data_may_change(frozen):
    Snapshot.objects.filter(pk=frozen.pk).update(name="another name", waiver="looked at")
    check_snapshot(frozen)


def test_a_membership_whose_freeze_failed_is_read_anew(frozen):
    """Before the hash is there, nothing was frozen."""
    other = Snapshot.objects.create(project=frozen.project, name="half", selection={}, pair_policy={})
    SnapshotJudgement.objects.bulk_create(
        [SnapshotJudgement(snapshot=other, judgement=member.judgement) for member in frozen.members.all()]
    )
    other.members.all().delete()
    other.delete()


@pytest.mark.django_db(transaction=True)
def test_a_migration_may_change_the_tables_of_what_was_frozen(frozen):
    """SQLite makes another table and moves the rows there."""
    name, longer = Snapshot._meta.get_field("name"), models.CharField(max_length=120)
    longer.set_attributes_from_name("name")
    longer.model = Snapshot
    training = apps.get_app_config("training")
    told = {"sender": training, "app_config": training, "verbosity": 0, "interactive": False, "using": "default"}
    for before, after in ((name, longer), (longer, name)):
        pre_migrate.send(**told)
        with connection.schema_editor() as editor:
            editor.alter_field(Snapshot, before, after)
        post_migrate.send(**told)
    with pytest.raises(IntegrityError, match="A frozen dataset does not change"), transaction.atomic():
        frozen.members.all().delete()
    check_snapshot(frozen)


def test_the_triggers_are_made_once_and_again(frozen):
    for _ in range(2):
        guard(apps.get_app_config("training"), using="default")
    with pytest.raises(IntegrityError), transaction.atomic():
        frozen.members.all().delete()
