"""What readers see: Markdown, code, maths, hidden characters, and bombs as plain text (T056, T061, T062)."""

import re

import pytest

from core.rendering import MAX_CHARS, is_too_much, render_markdown, render_plain


def test_the_usual_markdown_is_rendered() -> None:
    html = render_markdown("# Title\n\nA **bold** and *soft* `word`, ~~gone~~.\n\n1. one\n2. two\n\n> said\n")
    for part in (
        "<h1>Title</h1>",
        "<strong>bold</strong>",
        "<em>soft</em>",
        "<code>word</code>",
        "<s>gone</s>",
        "<ol>",
        "<blockquote>",
    ):
        assert part in html


def test_columns_keep_their_side_without_a_style_attribute() -> None:
    html = render_markdown("| a | b | c |\n|--|--:|:-:|\n| 1 | 2 | 3 |")
    assert '<td class="is-number">2</td>' in html
    assert '<td class="is-centred">3</td>' in html
    assert "style" not in html


def test_code_is_coloured_by_classes() -> None:
    html = render_markdown("```python\ndef f():\n    return 'a'\n```")
    assert '<div class="highlight"><pre><code><span class="k">def</span>' in html
    assert "<span class=\"s1\">'a'</span>" in html


@pytest.mark.parametrize("language", ["", "nosuchlanguage", "x" * 200, "../../etc"])
def test_code_in_an_unknown_language_is_shown_as_it_is(language: str) -> None:
    assert "a &lt; b" in render_markdown(f"```{language}\na < b\n```")


HIDING = [
    "[x]: https://ok.example 'VISIBLE'",
    "[VISIBLE]: https://ok.example",
    "| a |\n|---|\n| 1 | VISIBLE |",
    "> | a |\n> |---|\n> | 1 | VISIBLE |",
    "```python VISIBLE\nx = 1\n```",
    "```VISIBLE\nx = 1\n```",
    "<!-- VISIBLE -->",
    "<VISIBLE>",
    "<p hidden>VISIBLE</p>",
    "![VISIBLE](x)",
    "[//]: # (VISIBLE)",
    "{VISIBLE}",
    "%% VISIBLE",
    "\\begin{comment}VISIBLE\\end{comment}",
]


@pytest.mark.parametrize("text", HIDING)
def test_markdown_hides_no_text_from_the_reader(text: str) -> None:
    assert "VISIBLE" in re.sub(r"<[^>]*>", "", render_markdown(text))


def test_a_table_in_a_quote_is_still_a_table() -> None:
    assert "<td>2</td>" in render_markdown("> | a | b |\n> |---|---|\n> | 1 | 2 |")
    assert "<td>1</td>" in render_markdown("a | b\n--|--\n1 | 2 \\| 3")


@pytest.mark.parametrize(
    ("text", "tex", "display"),
    [
        ("so $x^2$ is", "x^2", False),
        ("so \\(x^2\\) is", "x^2", False),
        ("so $$x^2$$ is", "x^2", True),
        ("so \\[x^2\\] is", "x^2", True),
        ("$$\na\n= b\n$$", "a\n= b", True),
        ("\\[\na\n\\]", "a", True),
        ("$a_1 * b_1 * c$", "a_1 * b_1 * c", False),
        ("$\\$5$", "\\$5", False),
    ],
)
def test_maths_is_marked_for_the_typesetter(text: str, tex: str, display: bool) -> None:
    html = render_markdown(text)
    assert f'data-tex="{tex}"' in html
    assert ("is-display" in html) == display
    assert "<em>" not in html


@pytest.mark.parametrize(
    "text", ["It costs $5 and $6.", "from $5 to$7", "a $ b $ c", "$$", "$", "US$ 20", "\\$x\\$", "`$x$`", "$5-$10"]
)
def test_money_is_not_maths(text: str) -> None:
    assert "math" not in render_markdown(text)


@pytest.mark.parametrize(
    ("char", "name"),
    [("\u202e", "RLO"), ("\u2066", "LRI"), ("\u200b", "ZWSP"), ("\ufeff", "BOM"), ("\U000e0041", "TAG A"), ("\x07", "U+0007"), ("\x00", "U+0000"), ("\ud800", "U+D800"), ("\ue0f0", "U+E0F0"), ("\u3164", "HF"), ("\U000e0101", "U+E0101"), ("\u00ad", "SHY")],
)  # fmt: skip
@pytest.mark.parametrize(
    "frame",
    ["a{0}b", "`a{0}b`", "```\na{0}b\n```", "```python\na{0}b\n```", "    a{0}b", "**a{0}b**", "| a{0}b |\n|--|"],
)
def test_hidden_characters_are_shown_by_name(char: str, name: str, frame: str) -> None:
    html = render_markdown(frame.replace("{0}", char))
    assert f">{name}</span>" in html
    assert char not in html
    assert f">{name}</span>" in render_plain(f"a{char}b")


@pytest.mark.parametrize(
    "text",
    [
        "👩‍👩‍👧‍👦 👍🏽 1️⃣ ❤️ 🏳️‍🌈",
        "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
        "می‌خواهم",
        "क्‍ष",
        "naïve 漢字 עברית\ttab\nline",
    ],
)
def test_what_shapes_visible_signs_is_left_alone(text: str) -> None:
    assert "hidden-char" not in render_markdown(text)
    assert "hidden-char" not in render_plain(text)


def test_a_hidden_character_in_an_address_is_shown_there() -> None:
    html = render_markdown("[pay](https://bank.example/a\u202eb)")
    assert "\u202e" not in html
    assert "RLO" in html


BOMBS = {
    "brackets": "[" * 100_000,
    "quotes": ">" * 50_000 + "a",
    "quotes in lines": "> " * 500 + "a",
    "nested lists": "\n".join("  " * depth + "- a" for depth in range(300)),
    "lists in a line": "- " * 9_000,
    "wide table": "|a" * 1_900 + "\n" + "|-" * 1_900 + "\n|x",
    "long line": "x" * 1_000_000,
    "emphasis": "*_" * 20_000,
    "emphasis runs": "*a **b " * 900,
    "links": "[a](<b" * 1_900,
    "images": "![" * 2_000,
    "backticks": " ".join("`" * (n % 70 + 1) for n in range(160)),
    "entities": "&lt;" * 5_000,
    "dollars": "$a " * 1_900,
    "parentheses": "\\(" * 2_900,
    "references": "\n".join(f"[{n}]: /x" for n in range(1_900)),
    "code": "```python\n" + "((" * 9_000 + "\n```",
    "strings": "```python\n" + "'''" * 6_000 + "\n```",
    "setext": "a\n=\n" * 5_000,
    "autolinks": "<a:" * 5_000,
    "strikes": "~~a" * 900,
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_rendered_or_shown_as_plain_text(name: str) -> None:
    html = render_markdown(BOMBS[name])
    assert html.startswith("<")


def test_too_much_text_is_shown_as_it_is() -> None:
    text = "**a** <b>\n" * (MAX_CHARS // 10 + 1)
    assert is_too_much(text)
    assert render_markdown(text).startswith('<div class="markdown-plain">**a** &lt;b&gt;')


def test_the_end_of_a_huge_text_is_announced() -> None:
    assert render_plain("x" * 1_000_500).endswith("… 500 more characters")


def test_the_same_text_gives_the_same_bytes() -> None:
    assert render_markdown("# a $b$ `c`") == render_markdown("# a $b$ `c`")
