"""A list of people becomes one invitation link each: read line by line, refused as a whole if one line is wrong."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from django.db import transaction

from accounts.invitations import MAX_NOTE, invite
from accounts.members import check_may_grant
from accounts.models import Membership, Role
from accounts.terms import Terms, day_of, words
from core.csvs import csv_text
from core.errors import DomainError, require

MAX_PEOPLE = 500
MAX_BYTES = 500_000
COLUMNS = ("name", "roles", "groups", "languages", "until")
# What other lists call these columns.
ALIASES = {
    "email": "name", "e-mail": "name", "label": "name", "person": "name", "role": "roles", "group": "groups",
    "language": "languages", "lang": "languages", "expiry": "until", "expires": "until", "end": "until",
}  # fmt: skip


@dataclass(frozen=True)
class Invitee:
    """One line of the list: for whom, and as what."""

    line: int
    name: str
    roles: tuple[Role, ...]
    terms: Terms


@dataclass(frozen=True)
class BadLine:
    line: int
    text: str
    sentence: str


@dataclass(frozen=True)
class IssuedLink:
    """One person's link. It exists here and nowhere else: only its hash is stored."""

    invitee: Invitee
    url: str


@dataclass(frozen=True)
class PeopleList:
    people: list[Invitee]
    bad: list[BadLine]


def read_people(text: str, *, roles: Iterable[Role], terms: Terms, by: Membership) -> PeopleList:
    """Read a pasted or uploaded list.

    text   CSV with commas, semicolons or tabs. A first line that names columns may stand in any order; without one they are
           name, roles, groups, languages, until. Several roles, groups or languages of one person stand between ; or |
    roles, terms  what holds where a line leaves a cell empty
    Raises DomainError for a list that is no list: empty, too long, without a column of names.
    """
    require(text.strip(), "The list is empty.", how="Paste one person a line, or choose a file.")
    require(len(text.encode()) <= MAX_BYTES, "The list is larger than 500 kB.", how="Split it.")
    defaults = Invitee(line=0, name="", roles=tuple(sorted(roles)), terms=terms)
    people: list[Invitee] = []
    bad: list[BadLine] = []
    lines: dict[str, int] = {}
    for line, cells in _rows(text):
        excerpt = ", ".join(cell for cell in cells.values() if cell)[:120]
        try:
            person = _person(line, cells, defaults, by)
            first = lines.setdefault(person.name.casefold(), line)
            require(first == line, f"{person.name} stands in line {first} already.")
        except DomainError as problem:
            bad.append(BadLine(line, excerpt, problem.words))
        else:
            people.append(person)
    n_people = len(people) + len(bad)
    require(n_people, "The list names nobody.", how="Below the line of column names stands one person a line.")
    require(n_people <= MAX_PEOPLE, f"The list names {n_people:,} people; {MAX_PEOPLE} at a time.", how="Split it.")
    return PeopleList(people, bad)


def _rows(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, column -> cell) of each line that is not blank."""
    text = text.removeprefix("\ufeff").replace("\0", "")
    head = next(line for line in text.splitlines() if line.strip())
    separator = max(",;\t", key=head.count)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=separator)
    columns: tuple[str, ...] | None = None
    line = 1
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as problem:
            raise DomainError(f"Line {reader.line_num} cannot be read: {problem}.") from None
        cells = [cell.strip() for cell in row]
        here, line = line, reader.line_num + 1
        if not any(cells):
            continue
        if columns is None:
            named = tuple(ALIASES.get(cell.lower(), cell.lower()) for cell in cells)
            is_header = "name" in named or set(named) <= set(COLUMNS)
            columns = named if is_header else COLUMNS
            if is_header:
                _check_columns(columns)
                continue
        if len(cells) > len(columns) and any(cells[len(columns) :]):
            yield here, {"name": cells[0], "": "more cells than columns"}
        else:
            yield here, _named(columns, cells)


def _named(columns: tuple[str, ...], cells: list[str]) -> dict[str, str]:
    """Column -> cell. A name and an e-mail stand together: both say for whom the link is."""
    found = dict(reversed([*zip(columns, cells, strict=False)]))
    names = [cell for column, cell in zip(columns, cells, strict=False) if column == "name" and cell]
    return found | ({"name": f"{names[0]} ({', '.join(names[1:])})"} if len(names) > 1 else {"name": "".join(names)})


def _check_columns(columns: tuple[str, ...]) -> None:
    unknown = [name for name in columns if name not in COLUMNS and name]
    require(
        not unknown,
        f"There is no column “{unknown[0][:40]}”." if unknown else "",
        how=f"Columns are: {', '.join(COLUMNS)}.",
    )
    require("name" in columns, "The list has no column “name”.", how="It says for whom each link is.")
    others = [name for name in columns if name != "name"]  # of a name and an e-mail both are kept
    require(len(set(others)) == len(others), "Two columns have the same name.")


def _person(line: int, cells: dict[str, str], defaults: Invitee, by: Membership) -> Invitee:
    require(
        "" not in cells or not cells[""],
        "There are more cells than columns.",
        how="Put several groups or languages between ; or | into one cell.",
    )
    name = " ".join(cells.get("name", "").split())
    require(name, "The name is missing.")
    require(len(name) <= MAX_NOTE, f"The name has more than {MAX_NOTE} characters.")
    roles = _roles(cells.get("roles", "")) or set(defaults.roles)
    require(roles, "No role is given.", how="Write one, or choose roles for all.")
    check_may_grant(by, roles)
    groups, languages, until = (cells.get(column, "") for column in ("groups", "languages", "until"))
    terms = Terms.of(
        groups=words(groups) or defaults.terms.groups,
        languages=words(languages.replace(" ", ";")) or defaults.terms.languages,
        until=day_of(until) if until else defaults.terms.until,
    )
    return replace(defaults, line=line, name=name, roles=tuple(sorted(roles)), terms=terms)


def _roles(cell: str) -> set[Role]:
    names = words(cell.lower().replace(" ", ";"))
    unknown = [name for name in names if name not in Role.values]
    require(
        not unknown, f"{unknown[0][:40]!r} is no role." if unknown else "", how=f"Roles are: {', '.join(Role.values)}."
    )
    return {Role(name) for name in names}


@transaction.atomic
def invite_many(people: Iterable[Invitee], *, by: Membership, days: int) -> list[tuple[Invitee, str]]:
    """One invitation for one use each, all or none. Returns the paths of the links, which cannot be shown again."""
    made = []
    for person in people:
        _, path = invite(project=by.project, roles=person.roles, by=by, days=days, note=person.name, terms=person.terms)
        made.append((person, path))
    return made


def links_csv(links: Iterable[IssuedLink]) -> str:
    """The links as a file to keep or to merge into letters."""
    header = ("name", "link", "roles", "groups", "languages", "until")
    return csv_text(
        header,
        (
            (
                link.invitee.name,
                link.url,
                "; ".join(link.invitee.roles),
                "; ".join(link.invitee.terms.groups),
                "; ".join(link.invitee.terms.languages),
                link.invitee.terms.until.date().isoformat() if link.invitee.terms.until else "",
            )
            for link in links
        ),
    )
