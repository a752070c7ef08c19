"""What was frozen stays as it was, whoever writes to the database: triggers on the recipe and on the membership.

They are made after every migration and taken away before one: SQLite changes a table by making another one, and what hangs on the old
one would refuse that. Files have their hashes (``training.snapshots``), and text that is erased makes a new revision of
them; the membership and the hash of the rows stay.
"""

from typing import Any

from django.apps import AppConfig
from django.db import connections

SENTENCE = "A frozen dataset does not change."
KEPT = ("key", "project_id", "selection", "pair_policy", "sealed_at", "facts", "sha256")


def _changed(differs: str) -> str:
    return " OR ".join(f"NEW.{name} {differs} OLD.{name}" for name in KEPT)


POSTGRES = f"""
CREATE OR REPLACE FUNCTION training_refuse_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '{SENTENCE}' USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE OR REPLACE FUNCTION training_refuse_frozen_member() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM training_snapshot WHERE id = OLD.snapshot_id AND sha256 <> '') THEN
        RAISE EXCEPTION '{SENTENCE}' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;

CREATE OR REPLACE FUNCTION training_refuse_new_members() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT 1 FROM training_snapshot WHERE sha256 <> '' AND id IN (SELECT DISTINCT snapshot_id FROM new_members)
    ) THEN
        RAISE EXCEPTION '{SENTENCE}' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER frozen_recipe BEFORE UPDATE ON training_snapshot
    FOR EACH ROW WHEN (OLD.sha256 <> '' AND ({_changed("IS DISTINCT FROM")})) EXECUTE FUNCTION training_refuse_frozen();
CREATE OR REPLACE TRIGGER frozen_member BEFORE UPDATE OR DELETE ON training_snapshotjudgement
    FOR EACH ROW EXECUTE FUNCTION training_refuse_frozen_member();
CREATE OR REPLACE TRIGGER frozen_members AFTER INSERT ON training_snapshotjudgement
    REFERENCING NEW TABLE AS new_members FOR EACH STATEMENT EXECUTE FUNCTION training_refuse_new_members();
"""

IS_FROZEN = "EXISTS (SELECT 1 FROM training_snapshot WHERE id = {}.snapshot_id AND sha256 <> '')"
SQLITE = (
    f"""CREATE TRIGGER IF NOT EXISTS frozen_recipe BEFORE UPDATE ON training_snapshot
        WHEN OLD.sha256 <> '' AND ({_changed("IS NOT")}) BEGIN SELECT RAISE(ABORT, '{SENTENCE}'); END""",
    *(
        f"""CREATE TRIGGER IF NOT EXISTS frozen_member_{event.lower()} BEFORE {event} ON training_snapshotjudgement
        WHEN {IS_FROZEN.format("NEW" if event == "INSERT" else "OLD")} BEGIN SELECT RAISE(ABORT, '{SENTENCE}'); END"""
        for event in ("INSERT", "UPDATE", "DELETE")
    ),
)


TRIGGERS = {
    "training_snapshot": ("frozen_recipe",),
    "training_snapshotjudgement": (
        "frozen_member", "frozen_members", "frozen_member_insert", "frozen_member_update", "frozen_member_delete",
    ),
}  # fmt: skip


def release(sender: AppConfig, *, using: str, **_: Any) -> None:
    """Take the triggers away. A receiver of ``pre_migrate``."""
    connection = connections[using]
    there = TRIGGERS.keys() & set(connection.introspection.table_names())
    with connection.cursor() as cursor:
        for table in sorted(there):
            place = f" ON {table}" if connection.vendor == "postgresql" else ""
            for name in TRIGGERS[table]:
                cursor.execute(f"DROP TRIGGER IF EXISTS {name}{place}")


def guard(sender: AppConfig, *, using: str, **_: Any) -> None:
    """Make the triggers. A receiver of ``post_migrate``."""
    connection = connections[using]
    if "training_snapshotjudgement" not in connection.introspection.table_names():
        return  # the tables of this app are not there yet
    with connection.cursor() as cursor:
        for statement in [POSTGRES] if connection.vendor == "postgresql" else SQLITE:
            cursor.execute(statement)
