"""What runs the examples of the pages notices where one does not do what its page says."""

from pathlib import Path

import pytest

from tests.howto.pages import Code, code_of, example, run_example


def blocks(*pieces: tuple[str, str]) -> list[Code]:
    return [Code(language, text, "Example") for language, text in pieces]


def test_a_block_reads_what_the_one_before_it_wrote(tmp_path: Path) -> None:
    shell = ("sh", "cat > a.txt <<'END'\nit's here\nEND\n.venv/bin/python -c 'print(1)'\n")
    python = ("python", "print(open('a.txt').read(), end='')")
    assert run_example(blocks(shell, ("text", "1\n"), python, ("text", "…here\n")), tmp_path) == ["1\n", "it's here\n"]


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ([("sh", "false\necho on")], "ended with 1"),
        ([("sh", "false | cat")], "ended with 1"),
        ([("sh", "echo $NOSUCH")], "NOSUCH: unbound variable"),
        ([("sh", "echo 2 rows"), ("text", "3 rows\n")], "printed:\n2 rows"),
        ([("sh", "echo one; echo two"), ("text", "…\n")], "printed:\none\ntwo"),
        ([("python", "1 / 0")], "ZeroDivisionError"),
        ([("sh", ".venv/bin/python manage.py nosuch")], "CommandError: Unknown command"),
        ([("sh", ".venv/bin/python manage.py freeze")], "CommandError: .*required: name"),
        ([("ruby", "puts 1")], "nothing is known to run 'ruby'"),
    ],
)
def test_what_goes_wrong_is_told(tmp_path: Path, pieces: list[tuple[str, str]], words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        run_example(blocks(*pieces), tmp_path)


def test_code_is_found_below_its_heading(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n`a`\n\n## Example\n\n1. A list:\n\n   ```sh\n   b\n   ```\n\n## After\n\n    c\n")
    assert list(code_of(page)) == [
        Code("", "a", "Page", is_inline=True), Code("sh", "b\n", "Example"), Code("", "c\n", "After"),
    ]  # fmt: skip
    with pytest.raises(AssertionError, match="has no code below 'Nothing'"):
        example("export-a-dataset", "Nothing")
