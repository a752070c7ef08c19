"""Rows past the ORM: the same rows as Django's own, and every constraint holds."""

from datetime import UTC, datetime

import pytest
from django.db import IntegrityError, connection, transaction

from accounts.models import AuditEvent
from core.bulk import (
    MANY,
    ROWS_AT_ONCE,
    Rows,
    analyze,
    chunks,
    keys_from,
    new_ids,
    room_to_write,
    settled_later,
    taken,
)
from core.ids import KEY_ALPHABET, new_key
from generation.models import Prompt, PromptSet
from tests.annotation.builders import make_project

pytestmark = pytest.mark.django_db


def rows_of(prompt_set: PromptSet) -> Rows:
    columns = ("id", "key", "number", "messages", "content_sha256", "created_at")
    return Rows(Prompt, *columns, set_id=prompt_set.pk, group_sha256="g", split="train")


def test_rows_read_back_as_they_were_given_with_defaults_for_the_rest():
    prompt_set = PromptSet.objects.create(project=make_project(), name="set")
    at = datetime(2024, 2, 3, 4, 5, 6, 789, tzinfo=UTC)
    with transaction.atomic(), room_to_write():
        prompt_set.save()
        ids = new_ids(Prompt, 3)
        rows_of(prompt_set).insert(
            (pk, new_key(), n, '[{"a": "\\u00fc\\t\\\\N"}]', f"c{n}", taken(at)) for n, pk in enumerate(ids)
        )
    assert sorted(ids) == sorted(Prompt.objects.values_list("pk", flat=True))
    found = Prompt.objects.get(number=1)
    assert (found.messages, found.created_at, found.tags, found.note) == ([{"a": "ü\t\\N"}], at, [], "")
    later = Prompt.objects.create(
        set=prompt_set, number=9, messages=[], content_sha256="z", group_sha256="g", split="train"
    )
    assert later.pk > max(ids), "the database counts on from there"


def test_ids_are_kept_for_rows_to_come():
    with transaction.atomic():
        first, second = new_ids(Prompt, 3), new_ids(Prompt, 2)
        assert new_ids(Prompt, 0) == []
    assert len({*first, *second}) == 5
    prompt_set = PromptSet.objects.create(project=make_project(), name="set")
    fields = {"set": prompt_set, "messages": [], "group_sha256": "g", "split": "train"}
    other = Prompt.objects.create(number=1, content_sha256="x", **fields)
    assert other.pk > max(first + second), "who comes between gets another"
    rows_of(prompt_set).insert([(second[0], new_key(), 2, "[]", "y", taken(datetime.now(UTC)))])
    assert new_ids(Prompt, 1)[0] > other.pk


@pytest.mark.parametrize("n", [1, sum(ROWS_AT_ONCE), 2 * ROWS_AT_ONCE[0] + ROWS_AT_ONCE[1] + 1])
def test_any_number_of_rows_is_written_whole_and_in_order(n: int):
    prompt_set = PromptSet.objects.create(project=make_project(), name="set")
    rows, at = rows_of(prompt_set), taken(datetime.now(UTC))
    with transaction.atomic():
        packed = rows.pack([(pk, new_key(), k, f'["{k}"]', f"c{k}", at) for k, pk in enumerate(new_ids(Prompt, n))])
        assert not prompt_set.prompts.exists(), "what is packed is not written yet"
        rows.put(packed)
    found = prompt_set.prompts.order_by("pk").values_list("number", "messages", "content_sha256")
    assert list(found) == [(k, [str(k)], f"c{k}") for k in range(n)]


@pytest.mark.django_db(transaction=True)
def test_commits_settle_later_only_within():
    ask = "SHOW synchronous_commit" if connection.vendor == "postgresql" else "PRAGMA synchronous"

    def settled() -> str:
        with connection.cursor() as cursor:
            return str(cursor.execute(ask).fetchone()[0])

    before = settled()
    with pytest.raises(KeyError), settled_later():
        assert settled() in ("off", "1") and before not in ("off", "1")
        raise KeyError
    assert settled() == before


@pytest.mark.postgres
def test_postgresql_plans_at_once_for_what_came_in():
    assert connection.vendor == "postgresql"
    prompt_set = PromptSet.objects.create(project=make_project(), name="set")
    at = taken(datetime.now(UTC))
    with transaction.atomic():
        prompt_set.save()
        ids = new_ids(Prompt, MANY)
        rows_of(prompt_set).insert((pk, new_key(), n, "[]", f"c{n}", at) for n, pk in enumerate(ids))

    def expected() -> int:
        return int(Prompt.objects.filter(set=prompt_set).explain(format="json").split('"Plan Rows": ')[1].split(",")[0])

    analyze(MANY - 1, Prompt)
    assert expected() < MANY / 2, "a few rows are left to PostgreSQL"
    analyze(MANY, Prompt)
    assert expected() == MANY


def test_constraints_hold():
    prompt_set = PromptSet.objects.create(project=make_project(), name="set")
    with pytest.raises(IntegrityError), transaction.atomic():
        prompt_set.save()
        first, second = new_ids(Prompt, 2)
        at = datetime.now(UTC)
        rows_of(prompt_set).insert(
            [(first, new_key(), 1, "[]", "same", taken(at)), (second, new_key(), 2, "[]", "same", taken(at))]
        )


def test_what_each_row_must_bring_cannot_be_forgotten():
    with pytest.raises(TypeError, match=r"Prompt\.key needs a value"):
        Rows(Prompt, "messages")
    with pytest.raises(TypeError, match="no column"):
        Rows(AuditEvent, "colour")


def test_keys_are_keys():
    found = keys_from(bytes(range(256))[:252])
    assert len(found) == 21 and all(len(key) == 12 and set(key) <= set(KEY_ALPHABET) for key in found)


def test_handfuls_hold_everything_once_in_its_order_and_are_read_as_they_are_taken():
    rest = iter(range(7))
    handfuls = chunks(rest, 3)
    assert (next(handfuls), next(rest)) == ([0, 1, 2], 3)
    assert list(handfuls) == [[4, 5, 6]]
    assert [*chunks([1, 2, 3, 4], 2)] == [[1, 2], [3, 4]] and [*chunks([], 2)] == []
