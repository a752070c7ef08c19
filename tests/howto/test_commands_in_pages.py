"""Every command line of the pages is one that its program takes: verbs of make, commands of manage.py, the project's own modules."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from celery.bin.celery import celery
from django.core.management import CommandError, get_commands, load_command_class
from granian.cli import cli as granian

from config.env import ROOT
from tests.howto.pages import Code, code_of

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
HEREDOC = re.compile(r"<<'?(\w+)'?.*?\n\1\n", re.DOTALL)
OURS = ("benchmarks", "generation", "scripts", "starter", "training")


class Wrong(Exception):
    """A command line that its program would refuse; the sentence says why."""


def command_lines(code: Code) -> Iterator[list[str]]:
    """The words of each command of a shell block or an inline piece, without what is set before it and where its output goes."""
    if code.language not in ("", "sh", "bash", "console"):
        return
    for line in HEREDOC.sub("\n", code.text.replace("\\\n", " ")).splitlines():
        if not re.search(r"\bmanage\.py\b|\bmake\b|\bpython\b|\bcelery\b|\bgranian\b", line):
            continue
        words = shlex.shlex(line, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        command: list[str] = []
        for word in [*words, ";"]:
            if set(word) <= set("();|&"):
                yield from [command] if command else []
                command = []
            elif command or not re.match(r"[A-Z_]+=", word):
                command.append(word)


def check(words: list[str], *, is_whole: bool) -> bool:
    """Whether the words are a command of ours. Raises Wrong if there is no such command, or it takes no such options.

    is_whole  False for a mention within a sentence, which may leave out what is required
    """
    program, arguments = Path(words[0]).name, words[1:]
    until = next((n for n, word in enumerate(arguments) if set(word) <= set("<>")), len(arguments))
    if program == "python" and arguments[:1] == ["manage.py"]:
        program, arguments, until = "manage.py", arguments[1:], until - 1
    arguments = arguments[:until]
    if program == "manage.py" and is_whole and words[0] != ".venv/bin/python":
        raise Wrong(f"{words[0]} is not there to be typed: .venv/bin/python manage.py")
    match program:
        case "manage.py" if arguments:
            _check_managed(arguments[0], arguments[1:], is_whole=is_whole)
        case "make":
            _check_made(arguments)
        case "python" if arguments[:1] == ["-m"] and arguments[1].split(".")[0] in OURS:
            _check_source(_module(arguments[1]), arguments[2:])
        case "python" if arguments and arguments[0].endswith(".py"):
            _check_source(ROOT / arguments[0], arguments[1:])
        case "celery":
            at = next(n for n, word in enumerate(arguments) if word in celery.commands)
            _check_clicked(celery.commands[arguments[at]], arguments[at + 1 :])
        case "granian":
            _check_clicked(granian, arguments)
        case _:
            return False
    return True


def _check_managed(name: str, arguments: list[str], *, is_whole: bool) -> None:
    app = get_commands().get(name)
    if app is None:
        raise Wrong(f"manage.py has no command {name!r}")
    parser = (load_command_class(app, name) if isinstance(app, str) else app).create_parser("manage.py", name)
    if not is_whole:
        unknown = [word for word in arguments if word.startswith("--") and word not in parser._option_string_actions]
        if unknown:
            raise Wrong(f"manage.py {name} takes no {unknown[0]}")
        return
    try:
        parser.parse_args(arguments)
    except CommandError as problem:
        raise Wrong(f"manage.py {name}: {problem}") from None
    except SystemExit as ended:  # --help
        assert not ended.code


def _check_made(arguments: list[str]) -> None:
    text = (ROOT / "Makefile").read_text()
    for word in arguments:
        name, is_set, _ = word.partition("=")
        if not re.search(
            rf"\$\({name}\)|\$\(if \$\({name}\)" if is_set else rf"^{re.escape(name)}:", text, re.MULTILINE
        ):
            raise Wrong(f"the Makefile knows no {name!r}")


def _check_source(file: Path, arguments: list[str]) -> None:
    """A program whose parser cannot be had without torch: its source adds each option, by name or in a loop over names and fields."""
    if not file.is_file():
        raise Wrong(f"there is no {file.relative_to(ROOT)}")
    text = file.read_text(encoding="utf-8")
    for option in [word.partition("=")[0] for word in arguments if word.startswith("--")]:
        in_a_loop = rf'"{option[2:]}"|^    {option[2:].replace("-", "_")}: ' if 'add_argument(f"--{' in text else "(?!)"
        if not re.search(rf'add_argument\(\s*"{option}"|{in_a_loop}', text, re.MULTILINE):
            raise Wrong(f"{file.relative_to(ROOT)} takes no {option}")


def _module(name: str) -> Path:
    file = ROOT / Path(*name.split("."))
    return file / "__main__.py" if file.is_dir() else file.with_suffix(".py")


def _check_clicked(command: Any, arguments: list[str]) -> None:
    try:
        command.make_parser(click.Context(command)).parse_args(list(arguments))
    except click.UsageError as problem:
        raise Wrong(f"{command.name}: {problem.message}") from None


def checked(page: Path) -> int:
    """How many commands of ours the page has. Raises Wrong at the first that would be refused."""
    return sum(check(words, is_whole=not code.is_inline) for code in code_of(page) for words in command_lines(code))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page_are_taken(page: Path) -> None:
    checked(page)


@pytest.mark.parametrize(
    ("page", "least"),
    [
        ("README.md", 6),
        ("docs/how-to/run-on-a-server.md", 8),
        ("docs/how-to/push-a-dataset.md", 5),
        ("docs/log.md", 10),
    ],
)
def test_the_commands_of_the_pages_are_found(page: str, least: int) -> None:
    assert checked(ROOT / page) >= least


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (".venv/bin/python manage.py frieze uses-1 --project house", "no command 'frieze'"),
        (".venv/bin/python manage.py freeze uses-1 --project house --campain KEY", "--campain"),
        (".venv/bin/python manage.py freeze uses-1", "--project"),
        (".venv/bin/python manage.py freeze uses-1 --project house --pair-policy '{'", "not JSON"),
        (".venv/bin/python manage.py export a b --project house --format tlr-preference", "invalid choice"),
        (".venv/bin/python manage.py import_votes uses.csv | tee told.txt", "--project"),
        ("cat > a.txt <<'END'\nmake nonsense isn't read\nEND\nA=1 .venv/bin/python manage.py migrate --fast", "--fast"),
        ("manage.py freeze uses-1 --project house", "manage.py is not there to be typed"),
        ("make setup && make tset", "'tset'"),
        ("make demo AUTOMATIC=1", "'AUTOMATIC'"),
        ("python -m benchmarks.lop", "no benchmarks/lop.py"),
        ("python -m training.specs dpo --base model", "no --base"),
        ("python benchmarks/loop.py \\\n    --seed 1", "no --seed"),
        ("celery -A config worker --queue default", "--queue"),
        ("granian --interfaces wsgi config.wsgi", "--interfaces"),
    ],
)  # fmt: skip
def test_a_command_that_would_be_refused_is_found(tmp_path: Path, line: str, words: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n```sh\n{line}\n```\n")
    with pytest.raises(Wrong, match=re.escape(words)):
        checked(page)


def test_a_mention_may_leave_out_what_is_required(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Type `manage.py export --to`; that is all of `manage.py`.")
    assert checked(page) == 1
    page.write_text("Type `manage.py export --too`.")
    with pytest.raises(Wrong, match="--too"):
        checked(page)
