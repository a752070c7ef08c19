"""Erased text: a prompt, a better answer or a comment goes from the database and from the files of every dataset that holds it.

The dataset's record, its hash and the first manifest stay; its files are replaced by a redacted revision, and the old bytes are
deleted. New training on it is blocked until somebody waives that with a note. What was trained before is not undone: lineage
names those models.
"""

import shutil
from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import Any, Literal

import orjson
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from accounts.access import may
from accounts.audit import record
from accounts.models import Project, Role, User
from annotation.models import Judgement, PracticeItem, Ruling
from annotation.models.imports import ImportStatus
from annotation.votes.job import cancel_import
from core import jobs
from core.beating import Keeper, LeaseLost, attempt
from core.errors import Conflict, DomainError, require
from core.ids import canonical_json, content_sha256, sha256_hex
from core.storage import MANIFEST, artifact_path, manifest_of, store_directory, workspace
from core.uploads import uploads
from generation.models import Candidate, Prompt, PromptImport
from training.exports.job import remove_old_exports
from training.formats.canonical import ERASED as ERASED
from training.formats.canonical import canonical
from training.formats.files import write_parquet
from training.models import Erasure, Snapshot
from training.quotes import quotes_of
from training.scratch import remove_scratch
from training.snapshots import ARTIFACT_KIND

What = Literal["prompt", "exchange", "write_in", "comment"]
WHATS: Mapping[str, str] = {
    "prompt": "the prompt",
    "exchange": "the prompt with its answers",
    "write_in": "the better answer",
    "comment": "the comment",
}
LEASE_SECONDS = 300
# Under which keys of a row or a record a text of this kind stands.
KEYS: Mapping[str, frozenset[str]] = {
    "prompt": frozenset({"note", "reference", "following_turns"}),
    "exchange": frozenset({"note", "reference", "following_turns", "content", "text", "better_answer"}),
    "write_in": frozenset({"content", "better_answer"}),
    "comment": frozenset({"comment"}),
}


def may_erase(user: User, project: Project) -> bool:
    return may(user, project, Role.ADMIN)


def erase_text(*, judgement: Judgement, what: str, note: str, by: User) -> Erasure:
    """Erase the prompt of a judgement's task, with or without its answers, its better answer, or its comment; datasets follow.

    The same prompt in other sets of the project goes with it. What else holds the text letter by letter stays, and is listed in
    ``quotes``. Raises DomainError where there is nothing to erase.
    """
    require(what in WHATS, "That cannot be erased.", how=f"Choose one of {', '.join(WHATS)}.")
    require(note.strip(), "Say why it is erased: the record keeps the reason, and not the text.")
    project = judgement.assignment.task.campaign.project
    prompt = judgement.assignment.task.prompt
    with transaction.atomic():
        if what in ("prompt", "exchange"):
            texts, members = _erase_prompt(project, prompt.content_sha256, with_answers=what == "exchange")
        else:
            texts, members = _erase_said(judgement, what)
        require(texts, "There is no such text here, or it was erased before.")
        snapshots = Snapshot.objects.select_for_update(of=("self",)).filter(project=project, sealed_at__isnull=False)
        held = list(snapshots.filter(pk__in=Snapshot.objects.filter(members).values("pk")).order_by("pk"))
        found = Erasure.objects.create(
            project=project,
            what=what,
            judgement_key=judgement.key,
            prompt_sha256=prompt.content_sha256,
            text_sha256s=sorted({sha256_hex(text) for text in texts}),
            note=note.strip(),
            # Now that it is gone from where it was erased, whoever still holds it is a quotation.
            quotes=quotes_of(project, texts),
            unit="datasets",
            total_steps=len(held),
            requested_by=by,
        )
        found.snapshots.set(held)
        found.events.create(before="", after=found.status, by=by)
        Snapshot.objects.filter(pk__in=[each.pk for each in held]).update(
            erased_at=Now(), waived_at=None, waived_by=None, waiver=""
        )
        detail = {"what": what, "note": note.strip(), "datasets": [each.key for each in held]}
        record("text.erase", user=by, project=project, subject=judgement, detail=detail)
        jobs.enqueue_on_commit(found)
    return found


def _erase_prompt(project: Project, content: str, *, with_answers: bool) -> tuple[list[str], Q]:
    prompts = Prompt.objects.select_for_update().filter(set__project=project, content_sha256=content)
    texts: list[str] = []
    for prompt in prompts.order_by("pk"):
        if with_answers:
            texts += _erase_answers(prompt)
        turns = [*(message["content"] for message in prompt.messages), *prompt.following_turns]
        texts += [text for text in (*turns, prompt.note, prompt.reference) if text and text != ERASED]
        prompt.messages = _redacted_messages(prompt.messages)
        prompt.following_turns = [ERASED for _ in prompt.following_turns]
        prompt.note, prompt.reference, prompt.metadata = "", "", {}
        prompt.save(update_fields=["messages", "following_turns", "note", "reference", "metadata"])
    _erase_copies(project, content, answers=set(texts) if with_answers else set())
    return texts, Q(members__judgement__assignment__task__prompt__content_sha256=content)


def _erase_copies(project: Project, content: str, *, answers: Set[str]) -> None:
    """Where a lead kept the prompt: as the example of a ruling, with its answers, and as a practice item.

    answers  texts that are erased as answers of practice items whose prompt was erased before, too
    """
    for ruling in Ruling.objects.select_for_update().filter(campaign__project=project).exclude(example={}):
        if _is_prompt(ruling.example.get("messages", []), content):
            ruling.example = {}
            ruling.save(update_fields=["example"])
    for item in PracticeItem.objects.select_for_update().filter(campaign__project=project):
        is_prompt = _is_prompt(item.messages, content)
        was_prompt = all(message["content"] == ERASED for message in item.messages)
        if is_prompt or (was_prompt and not answers.isdisjoint(item.answers)):
            item.messages = _redacted_messages(item.messages)
            item.answers = [ERASED if (is_prompt and answers) or text in answers else text for text in item.answers]
            item.save(update_fields=["messages", "answers"])


def _erase_answers(prompt: Prompt) -> list[str]:
    """What models and people answered to it. Later turns of a conversation repeat some: those are prompts, and quotations."""
    answers = Candidate.objects.filter(prompt=prompt).exclude(text=ERASED)
    said = Judgement.objects.filter(assignment__task__prompt=prompt).exclude(write_in__in=["", ERASED])
    texts = [*answers.values_list("text", flat=True), *said.values_list("write_in", flat=True)]
    answers.update(text=ERASED, text_sha256=sha256_hex(ERASED))
    said.update(write_in=ERASED)
    return [text for text in texts if text]


def _erase_said(judgement: Judgement, what: str) -> tuple[list[str], Q]:
    """Of all revisions, since a correction repeats what stays. The one exception to "inserted, never updated"."""
    said = getattr(judgement, what)
    if not said or said == ERASED:
        return [], Q()
    revisions = Judgement.objects.filter(assignment=judgement.assignment_id, **{what: said})
    keys = list(revisions.values_list("pk", flat=True))
    Judgement.objects.filter(pk__in=keys).update(**{what: ERASED})
    return [said], Q(members__judgement__in=keys)


def _redacted_messages(messages: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{**message, "content": ERASED} for message in messages]


# ---- the datasets ----------------------------------------------------------------------------------------------------


def run_erasure(erasure_id: int) -> None:
    """Replace the files of every dataset that holds the text. Safe to call at any time, by any number of workers."""
    found = Erasure.objects.filter(pk=erasure_id).first()
    attempt(found, _replace_files, seconds=LEASE_SECONDS, what="The erasure")


def _replace_files(erasure: Erasure, keeper: Keeper) -> None:
    if erasure.snapshots.exclude(status__in=jobs.TERMINAL).exists():
        jobs.release(erasure, keeper.token, note="A dataset is still being frozen; the erasure goes on after it.")
        return
    remove_scratch()
    _give_up_files(erasure)
    _redact_all(erasure, keeper)
    remove_old_exports()
    jobs.finish(erasure, keeper.token, message="The files are replaced")


def _give_up_files(erasure: Erasure) -> None:
    """Delete the files of imports that were never begun, failed or were cancelled: nobody knows what text they hold, and trying again
    would bring it back. They can be uploaded once more."""
    project = erasure.project
    for draft in project.vote_imports.filter(status=ImportStatus.DRAFT):
        cancel_import(draft, by=erasure.requested_by)
    over = {"status__in": [jobs.JobStatus.FAILED, jobs.JobStatus.CANCELLED]}
    of_votes = project.vote_imports.filter(**over).values_list("stored_name", flat=True)
    of_prompts = PromptImport.objects.filter(set__project=project, **over).values_list("stored_name", flat=True)
    for name in [*of_votes, *of_prompts]:
        for path in uploads().glob(f"{name}*"):
            path.unlink(missing_ok=True)


def erase_again(erasure: Erasure, *, by: User) -> None:
    """A person's "try again" of an erasure that failed."""
    with transaction.atomic():
        jobs.requeue(erasure, by=by)
        record("text.retry", user=by, project=erasure.project, subject=erasure)


def _redact_all(erasure: Erasure, keeper: Keeper) -> None:
    """Look at the files that the datasets have, until all were: another erasure may replace some of them meanwhile."""
    rows, done, n_held = erasure.snapshots.exclude(artifact_sha256=""), set[str](), erasure.total_steps or 0
    while todo := set(rows.values_list("artifact_sha256", flat=True)) - done:
        for sha256 in sorted(todo):
            done |= {sha256, _redact(erasure, sha256)}
            _delete_unused(erasure)
            keeper.beat(step=min(erasure.step + 1, n_held))
    _delete_unused(erasure)


def _redact(erasure: Erasure, sha256: str) -> str:
    """Store the redacted revision of a directory and point every dataset that has it there; the hash of what is free of the text.

    Another erasure may have replaced the directory before, or do so at any moment: then nothing points here, and nothing is
    changed. Raises LeaseLost where another worker has the erasure.
    """
    old = artifact_path(ARTIFACT_KIND, sha256)
    try:
        with workspace("erasing", erasure.key) as directory:
            if not _copy(old, directory, erasure):  # a comment outside the records, a vote that gave no row
                return sha256
            new = sha256_hex(canonical_json(manifest_of(directory)))
            _note(erasure, sha256, new)
            store_directory(ARTIFACT_KIND, directory, take=True)
    except FileNotFoundError:
        # A freeze that was killed before its files lay there has none.
        if Snapshot.objects.filter(artifact_sha256=sha256).exclude(sha256="").exists():
            raise DomainError(
                "The files of a dataset are missing.", how="Restore them from a backup and try again."
            ) from None
        return sha256  # replaced by another erasure, and deleted while they were read
    with transaction.atomic():
        _still_ours(erasure)
        rows = Snapshot.objects.filter(artifact_sha256=sha256)
        rows.filter(first_artifact_sha256="").update(first_artifact_sha256=sha256)
        rows.update(artifact_sha256=new)
    return new


def _copy(old: Path, directory: Path, erasure: Erasure) -> bool:
    """Write the redacted revision; whether the text was in there."""
    paths = [path for path in sorted(old.iterdir()) if path.name != MANIFEST]
    n_changed = sum(_redact_file(path, directory / path.name, erasure) for path in paths)
    if not n_changed:
        return False
    for path in directory.glob("*.parquet"):
        path.unlink()
    write_parquet(directory)
    return True


def _still_ours(erasure: Erasure) -> None:
    rows = Erasure.objects.select_for_update().filter(pk=erasure.pk, lease_token=erasure.lease_token)
    if not erasure.lease_token or not rows.exists():
        raise LeaseLost


def _note(erasure: Erasure, *artifacts: str) -> None:
    """Remember the directories before anything happens to them, so that a kill at any moment leaves none behind."""
    with transaction.atomic():
        _still_ours(erasure)
        erasure.artifact_sha256s = sorted({*erasure.artifact_sha256s, *artifacts})
        erasure.save(update_fields=["artifact_sha256s"])


def _delete_unused(erasure: Erasure) -> None:
    """Delete the files of what the erasure replaced, or made for nothing. The manifests stay: hashes and sizes of what was frozen."""
    used = Snapshot.objects.filter(artifact_sha256__in=erasure.artifact_sha256s).values_list(
        "artifact_sha256", flat=True
    )
    for sha256 in set(erasure.artifact_sha256s) - set(used):
        directory = artifact_path(ARTIFACT_KIND, sha256)
        for path in directory.iterdir() if directory.is_dir() else ():
            if path.name != MANIFEST:
                path.unlink(missing_ok=True)


def _redact_file(source: Path, target: Path, erasure: Erasure) -> bool:
    """Copy one file without the text; whether it was in there."""
    if source.suffix != ".jsonl":
        shutil.copyfile(source, target)
        return False
    is_changed = False
    with source.open("rb") as lines, target.open("wb") as sink:
        for line in lines:
            value = orjson.loads(line)
            redacted, was_there = _redacted(value, erasure)
            sink.write(canonical(redacted) + b"\n" if was_there else line)
            is_changed = is_changed or was_there
    return is_changed


def _redacted(line: dict[str, Any], erasure: Erasure) -> tuple[dict[str, Any], bool]:
    hashes, keys, is_prompt = (
        frozenset(erasure.text_sha256s),
        KEYS[erasure.what],
        erasure.what in ("prompt", "exchange"),
    )
    n_found = 0

    def walk(value: Any, key: str) -> Any:
        nonlocal n_found
        if isinstance(value, dict):
            return {name: walk(each, name) for name, each in value.items()}
        if isinstance(value, list):
            if is_prompt and _is_prompt(value, erasure.prompt_sha256):
                n_found += 1
                return _redacted_messages(value)
            return [walk(each, key) for each in value]
        if isinstance(value, str) and key in keys and value and sha256_hex(value) in hashes:
            n_found += 1
            return ERASED
        return value

    if is_prompt:
        # Where the prompt alone was erased before, its lines are among those whose prompt is not to be read any more.
        was_erased = [{"content": ERASED}] if erasure.what == "exchange" else None
        if not any(_is_prompt(value, erasure.prompt_sha256) or _said(value) == was_erased for value in _lists(line)):
            return line, False
        line = {name: value for name, value in line.items() if name != "metadata"}
    return walk(line, ""), bool(n_found)


def _lists(value: Any) -> Iterable[list[Any]]:
    """Lists at the top of a line, and one level below."""
    for each in value.values():
        if isinstance(each, list):
            yield each
        elif isinstance(each, dict):
            yield from _lists(each)


def _said(messages: list[Any]) -> list[Any]:
    """The contents of a list of messages, equal ones once."""
    contents = {each.get("content", "") for each in messages if isinstance(each, dict)}
    return [{"content": content} for content in sorted(contents, key=str)]


def _is_prompt(value: list[Any], content: str) -> bool:
    try:
        return bool(value) and content_sha256(value) == content
    except (KeyError, TypeError):
        return False


# ---- the waiver ------------------------------------------------------------------------------------------------------


def waive(snapshot: Snapshot, *, note: str, by: User) -> None:
    """Let new runs learn from a dataset whose text was erased in part. Raises Conflict where nothing is blocked."""
    require(note.strip(), "Say why it may be trained on all the same.")
    open_ones = snapshot.erasures.exclude(status=jobs.JobStatus.SUCCEEDED)
    require(not open_ones.exists(), "Its files still hold the text.", how="Wait until the erasure is over.")
    with transaction.atomic():
        rows = Snapshot.objects.filter(pk=snapshot.pk, erased_at__isnull=False, waived_at=None)
        if rows.update(waived_at=Now(), waived_by=by, waiver=note.strip()) != 1:
            raise Conflict("Training on this dataset is not blocked.", how="Reload the page.")
        record("dataset.waive", user=by, project=snapshot.project, subject=snapshot, detail={"note": note.strip()})
