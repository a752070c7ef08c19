"""The first pass: every row of a file checked, and a checked copy written that the second pass only has to store.

What has been seen is kept in a scratch file beside the upload, so that memory stays flat over millions of votes.
"""

import csv
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from annotation.protocol import MAX_CRITERIA
from annotation.votes.judged import Header, Judged, Row, Vote
from core.confidential import first_secret, has_address
from core.csvs import inert
from core.ids import sha256_hex
from core.reading import BadRow, UnreadableFile
from generation.groups import Groups, group_of

CHUNK_ROWS = 500
CHUNK_CHARS = 8 << 20  # of one chunk, however few rows that is
SHOWN_BAD_ROWS = 1000
MAX_MODELS = 10_000
MAX_CAMPAIGNS = 100


@dataclass
class Scored:
    """What the rows have shown of one criterion so far: of two answers, or of each; from which value to which; first in which line."""

    is_comparison: bool
    low: int
    high: int
    line: int


@dataclass
class Found:
    """What the whole file has shown by its end: what the campaign will ask, and what the report says."""

    n_rows: int = 0
    n_bad: int = 0
    n_duplicates: int = 0
    bad: list[dict[str, Any]] = field(default_factory=list)
    models: set[str] = field(default_factory=set)
    verdicts: set[str] = field(default_factory=set)
    n_votes: int = 0
    n_secrets: int = 0  # rows that were quarantined
    n_addresses: int = 0  # rows with an e-mail address or a telephone number
    has_pairs: bool = False  # any row of two answers or more
    most_answers: int = 2
    strength_levels: int = 0
    campaigns: list[dict[str, Any]] = field(default_factory=list)  # of the full format, in the file's order
    criteria: dict[str, Scored] = field(default_factory=dict)  # where no campaign is described
    has_write_ins: bool = False


def chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows in handfuls that are small in number and in size."""
    chunk: list[Row] = []
    n_chars = 0
    for row in rows:
        chunk.append(row)
        if isinstance(row, Judged):
            n_chars += sum(len(answer.text) for answer in row.answers)
        if len(chunk) >= CHUNK_ROWS or n_chars >= CHUNK_CHARS:
            yield chunk
            chunk, n_chars = [], 0
    if chunk:
        yield chunk


@dataclass
class Checker:
    """One check of one file. ``copy`` and ``report`` are complete, and on disk, when ``check`` returns."""

    groups: Groups
    scratch: Path
    copy: Path
    report: Path
    progress: Callable[[int, int], None]  # rows read, bad rows
    allows_secrets: bool = False
    found: Found = field(default_factory=Found)
    fresh: list[tuple[bytes, bytes, int]] = field(default_factory=list)  # votes of this chunk: key, what they say, line

    def check(self, rows: Iterable[Row]) -> Found:
        draft = self.report.with_name(f"{self.report.name}.part")
        seen = sqlite3.connect(self.scratch, isolation_level=None)
        try:
            seen.execute("PRAGMA journal_mode=OFF")
            seen.execute("PRAGMA synchronous=OFF")
            seen.execute("PRAGMA cache_size=-32000")
            seen.execute("CREATE TABLE vote (key BLOB PRIMARY KEY, said BLOB, line INTEGER) WITHOUT ROWID")
            seen.execute("CREATE TABLE unnamed (task BLOB PRIMARY KEY, n INTEGER) WITHOUT ROWID")
            with draft.open("w", newline="", encoding="utf-8") as report, self.copy.open("wb") as copy:
                writer = csv.writer(report)
                writer.writerow(["line", "reason", "row"])
                for chunk in chunks(rows):
                    self._chunk(chunk, seen, writer, copy)
                    self.progress(self.found.n_rows, self.found.n_bad)
                copy.flush()
                os.fsync(copy.fileno())
        finally:
            seen.close()
        draft.replace(self.report)
        return self.found

    def _chunk(self, chunk: list[Row], seen: sqlite3.Connection, writer: Any, copy: Any) -> None:
        good = [row for row in chunk if isinstance(row, Judged)]
        quarantined = self._quarantined(good)
        good = [row for row in good if row.line not in quarantined]
        self._learn_campaigns(row for row in chunk if isinstance(row, Header))
        bad = [row for row in chunk if isinstance(row, BadRow)]
        bad += quarantined.values()
        placed = [Placed.of(row) for row in good]
        groups = [place.group for place in placed]
        refused = {row.line: row for row in self.groups.conflicts([row.prompt for row in good], groups)}
        bad += refused.values()
        placed = [place for place in placed if place.row.line not in refused]
        known = _known(seen, placed)
        seen.execute("BEGIN")
        lines = []
        for place in placed:
            problem = self._take(place, known, seen)
            if problem:
                bad.append(problem)
            else:
                lines.append(place.line())
        seen.executemany("INSERT INTO vote VALUES (?, ?, ?)", self.fresh)
        self.fresh.clear()
        seen.execute("COMMIT")
        copy.write(b"".join(lines))
        for row in sorted(bad, key=lambda each: each.line):
            self.found.n_bad += 1
            writer.writerow([row.line, row.reason, inert(row.excerpt)])
            if len(self.found.bad) < SHOWN_BAD_ROWS:
                self.found.bad.append({"line": row.line, "reason": row.reason, "excerpt": row.excerpt})
        self.found.n_rows += len(chunk)

    def _quarantined(self, rows: Iterable[Judged]) -> dict[int, BadRow]:
        """Rows that hold what looks like a secret, by line. Their reports never repeat it."""
        found: dict[int, BadRow] = {}
        for row in rows:
            texts = _texts(row)
            self.found.n_addresses += any(map(has_address, texts))
            if not self.allows_secrets and (what := first_secret(texts)):
                self.found.n_secrets += 1
                found[row.line] = BadRow(row.line, f"Quarantined: the row holds what looks like {what}.")
        return found

    def _learn_campaigns(self, headers: Iterable[Header]) -> None:
        for header in headers:
            self.found.campaigns.append(dict(header.settings))
            self.found.strength_levels = max(self.found.strength_levels, header.settings["strength_levels"])
            self.found.n_rows -= 1
            if len(self.found.campaigns) > MAX_CAMPAIGNS:
                raise UnreadableFile(f"The file describes more than {MAX_CAMPAIGNS} campaigns.", "Split it.")

    def _take(self, place: "Placed", known: dict[bytes, tuple[bytes, int]], seen: sqlite3.Connection) -> BadRow | None:
        """Note the votes of a row; the problem if one contradicts what its author, or a criterion, has said before."""
        fresh: dict[bytes, tuple[bytes, int]] = {}
        votes: list[tuple[Vote, str]] = []
        n_again = 0
        for vote in place.row.votes:
            if not vote.annotator:
                votes.append((vote, ""))
                continue
            key, said = place.key_of(vote), place.said(vote)
            before = known.get(key) or fresh.get(key)
            if before is None:
                fresh[key] = (said, place.row.line)
                votes.append((vote, vote.annotator))
            elif before[0] == said:
                n_again += 1
            else:
                where = "in this line" if before[1] == place.row.line else f"in line {before[1]:,}"
                reason = (
                    f"The person “{vote.annotator[:60]}” has judged the same answers {where}, and said something else."
                )
                return BadRow(place.row.line, reason, place.row.prompt.first_user_turn[:100])
        if reason := self._unasked(place.row):
            return BadRow(place.row.line, reason, place.row.prompt.first_user_turn[:100])
        known |= fresh
        self.fresh += [(key, *value) for key, value in fresh.items()]
        place.votes = [(vote, name or _unnamed(seen, place.task)) for vote, name in votes]
        self.found.n_duplicates += n_again
        self._learn(place)
        return None

    def _learn(self, place: "Placed") -> None:
        found = self.found
        found.most_answers = max(found.most_answers, len(place.row.answers))
        found.has_pairs |= len(place.row.answers) > 1
        found.n_votes += len(place.votes)
        found.models.update(answer.arm or answer.model for answer in place.row.answers)
        if len(found.models) > MAX_MODELS:
            raise UnreadableFile(
                f"The answers are by more than {MAX_MODELS:,} models.",
                "See whether “model” is really the model's name.",
            )
        for vote, _ in place.votes:
            found.verdicts.add(vote.verdict)
            found.strength_levels = max(found.strength_levels, vote.strength or 0, vote.levels)
            found.has_write_ins |= bool(vote.write_in)

    def _unasked(self, row: Judged) -> str:
        """Why no campaign asks for the scores of a row; empty where one does, and then they are noted."""
        if self.found.campaigns:
            return _not_asked(row, self.found.campaigns[row.more.get("campaign", 0) if row.more else 0])
        scores = [score for vote in row.votes for score in vote.scores]
        if not scores:
            return ""
        known, fresh = self.found.criteria, dict[str, Scored]()
        for name, answer, value in scores:
            before = fresh.get(name) or known.get(name) or Scored(answer is None, value, value, row.line)
            if before.is_comparison != (answer is None):
                does, did = ("compares", "rates them") if answer is None else ("rates", "compares them")
                where = "here, too" if before.line == row.line else f"in line {before.line:,}"
                return f"The criterion {name} {does} answers here and {did} {where}."
            fresh[name] = replace(before, low=min(before.low, value), high=max(before.high, value))
        more = [name for name in fresh if name not in known]
        if len(known) + len(more) > MAX_CRITERIA:
            told = f"; the rows above have {len(known)}" if known else ""
            return f"With {more[-1]} the votes score more than {MAX_CRITERIA} criteria{told}."
        known.update(fresh)
        return ""


def _not_asked(row: Judged, campaign: Mapping[str, Any]) -> str:
    """Why its described campaign asks for none of such votes; empty where it does. What an older protocol asked is not known."""
    asked = {each["name"]: (each["kind"], each["levels"]) for each in campaign["protocol"].get("criteria", ())}
    for vote in row.votes:
        if (vote.more.get("protocol_version", 1) if vote.more else 1) != campaign["protocol_version"]:
            continue
        if 0 < campaign["strength_levels"] < (vote.strength or 0):
            return f"A strength is {vote.strength}; its campaign's scale goes to {campaign['strength_levels']}."
        for name, answer, value in vote.scores:
            kind, levels = asked.get(name, ("", 0))
            if not kind:
                return f"The campaign that a line above describes does not ask about {name}."
            if (kind == "compare") != (answer is None):
                does, did = ("compares", "rates them") if answer is None else ("rates", "compares them")
                return f"The criterion {name} {does} answers here and {did} in its campaign's protocol."
            if abs(value) > levels:
                return f"A score of {name} is {value}; its campaign's protocol goes to {levels}."
    return ""


def _texts(row: Judged) -> list[str]:
    texts = [message["content"] for message in row.prompt.messages] + [answer.text for answer in row.answers]
    for vote in row.votes:
        if vote.comment or vote.write_in:
            texts += (vote.comment, vote.write_in)
    return texts


@dataclass(slots=True)
class Placed:
    """A row with what identifies its prompt, its answers and its task. Ids are hashes of content, not of the database."""

    row: Judged
    content: str
    group: str
    texts: list[str]
    answers: list[bytes]
    task: bytes
    votes: list[tuple[Vote, str]] = field(default_factory=list)

    @classmethod
    def of(cls, row: Judged) -> "Placed":
        content = sha256_hex(
            orjson.dumps(row.prompt.messages, option=orjson.OPT_SORT_KEYS)
        )  # as core.ids.content_sha256
        texts = [sha256_hex(answer.text) for answer in row.answers]
        answers = [
            hashlib.sha256("\x00".join((content, answer.model, answer.id, text)).encode()).digest()
            for answer, text in zip(row.answers, texts, strict=True)
        ]
        number = row.more.get("campaign", 0) if row.more else 0
        campaign = number.to_bytes(2, "big") if number else b""
        task = hashlib.sha256(campaign + b"".join(sorted(answers))).digest()[:16]
        return cls(row=row, content=content, group=group_of(row.prompt), texts=texts, answers=answers, task=task)

    def key_of(self, vote: Vote) -> bytes:
        role = b"\x00review" if vote.more and vote.more.get("by") == "adjudicator" else b""
        return hashlib.sha256(self.task + vote.annotator.encode() + role).digest()[:16]

    def said(self, vote: Vote) -> bytes:
        """What a vote says, whatever the order of the answers in its row."""
        by_answer = sorted(zip(self.answers, vote.ranks, strict=True))
        better = -1 if len(self.answers) == 2 and self.answers[0] > self.answers[1] else 1
        scores = sorted(
            (name, self.answers[number] if number is not None else b"", value if number is not None else value * better)
            for name, number, value in vote.scores
        )
        said = (vote.verdict, by_answer, vote.strength, scores, vote.reasons, vote.comment, vote.write_in)
        return hashlib.sha256(repr(said).encode()).digest()[:8]

    def line(self) -> bytes:
        """The row in the checked copy: one line of JSON that ``storing`` reads."""
        row, prompt = self.row, self.row.prompt
        extras = [prompt.tags, prompt.note, prompt.reference, prompt.metadata, prompt.following_turns]
        answers = [
            [key.hex(), answer.arm or answer.model, answer.text, text, answer.finish_reason, answer.told]
            for key, text, answer in zip(self.answers, self.texts, row.answers, strict=True)
        ]
        votes = [
            [
                name, vote.verdict, vote.ranks, vote.order, vote.strength, vote.scores, vote.reasons, vote.comment,
                vote.write_in, vote.seconds, vote.at, vote.id, vote.more,
            ]
            for vote, name in self.votes
        ]  # fmt: skip
        return orjson.dumps(
            [
                self.content,
                self.group,
                prompt.messages,
                extras if any(extras) else None,
                answers,
                votes,
                row.id,
                row.more,
            ],
            option=orjson.OPT_APPEND_NEWLINE,
        )


def _known(seen: sqlite3.Connection, placed: list[Placed]) -> dict[bytes, tuple[bytes, int]]:
    keys = [place.key_of(vote) for place in placed for vote in place.row.votes if vote.annotator]
    known: dict[bytes, tuple[bytes, int]] = {}
    for start in range(0, len(keys), 10_000):
        part = keys[start : start + 10_000]
        marks = ",".join("?" * len(part))
        rows = seen.execute(f"SELECT key, said, line FROM vote WHERE key IN ({marks})", part)
        known.update((key, (said, line)) for key, said, line in rows)
    return known


def _unnamed(seen: sqlite3.Connection, task: bytes) -> str:
    """Votes without a person: the first on each task is one person's, the second another's, and so on."""
    rows = seen.execute(
        "INSERT INTO unnamed VALUES (?, 1) ON CONFLICT (task) DO UPDATE SET n = n + 1 RETURNING n", (task,)
    )
    # No given id begins with a space, so none is taken for one of these.
    return f" unnamed {rows.fetchone()[0]}"
