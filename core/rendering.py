"""The one renderer for text that people and models wrote. Everything in it is untrusted.

markdown-it-py (raw HTML off) makes HTML, nh3 keeps an allow-list of it. Nothing is loaded from elsewhere: an image becomes a
link. Characters that a reader cannot see are shown. Text that is too big or too deep is shown as plain text instead.
"""

import re
import unicodedata
from collections.abc import MutableMapping, Sequence
from functools import lru_cache
from html import escape
from typing import Any

import nh3
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_block import StateBlock
from markdown_it.rules_block.table import escapedSplit
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

MAX_CHARS = 60_000  # of Markdown; more is shown as plain text
MAX_LINE = 20_000
MAX_CODE_CHARS = 20_000  # of one highlighted block
MAX_TEX_CHARS = 2_000
MAX_PLAIN_CHARS = 1_000_000
# Work grows with these: each is far above what an answer for people holds.
MAX_COUNTS = {
    "[": 2_000,
    "*": 6_000,
    "_": 12_000,
    "`": 6_000,
    "<": 6_000,
    "|": 4_000,
    "$": 2_000,
    "\\": 6_000,
    "!": 6_000,
    "~": 3_000,
    "&": 6_000,
}
MAX_DEPTH = 20  # of quotes and lists in one another

TAGS = {
    "a", "blockquote", "br", "code", "del", "div", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p",
    "pre", "s", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
ATTRIBUTES = {
    "a": {"href", "title"},
    "span": {"data-tex", "title"},
    "ol": {"start"},
}
SCHEMES = {"http", "https", "mailto"}
# Classes that our own renderer writes; nh3 drops all others, so that no text can dress up as a button of ours.
CODE_CLASSES = {
    "k", "kc", "kd", "kn", "kp", "kr", "kt", "ow", "nt", "s", "s1", "s2", "sa", "sb", "sc", "sd", "se", "sh", "si", "sr", "ss",
    "m", "mf", "mh", "mi", "mo", "il", "mb", "c", "c1", "ch", "cm", "cp", "cs", "cpf", "gp", "na", "nb", "nc", "nd", "nf", "nn",
    "fm", "bp", "vi", "err", "gd", "gi", "gr", "ne", "gh", "gs", "ge",
}  # fmt: skip
CLASSES = {
    "a": {"image-link"},
    "span": {"math", "is-display", "hidden-char", *CODE_CLASSES},
    "div": {"highlight"},
    "td": {"is-number", "is-centred"},
    "th": {"is-number", "is-centred"},
}

HIDDEN_NAMES = {
    "\u00ad": "SHY", "\u034f": "CGJ", "\u061c": "ALM", "\u115f": "HCF", "\u1160": "HJF", "\u17b4": "KIVAQ", "\u17b5": "KIVAA",
    "\u180e": "MVS", "\u200b": "ZWSP", "\u200c": "ZWNJ", "\u200d": "ZWJ", "\u200e": "LRM", "\u200f": "RLM", "\u2028": "LSEP",
    "\u2029": "PSEP", "\u202a": "LRE", "\u202b": "RLE", "\u202c": "PDF", "\u202d": "LRO", "\u202e": "RLO", "\u2060": "WJ",
    "\u2061": "FA", "\u2062": "IT", "\u2063": "IS", "\u2064": "IP", "\u2066": "LRI", "\u2067": "RLI", "\u2068": "FSI",
    "\u2069": "PDI", "\u3164": "HF", "\ufeff": "BOM", "\uffa0": "HHF", "\ufffc": "OBJ",
}  # fmt: skip
_PICTOGRAM = r"[\u2190-\u2bff\u3030\u303d\U0001f000-\U0001faff]"
# Joiners and selectors inside an emoji or an Indic or Arabic word shape what is seen; everywhere else they hide.
_EMOJI = re.compile(
    r"(?:[\u0600-\u0dff][\u200c\u200d](?=[\u0600-\u0dff])|[0-9#*]\ufe0f?\u20e3|"
    rf"\U0001f3f4[\U000e0061-\U000e007a]{{1,6}}\U000e007f|{_PICTOGRAM}[\ufe0e\ufe0f]?[\U0001f3fb-\U0001f3ff]?"
    rf"(?:\u200d{_PICTOGRAM}[\ufe0e\ufe0f]?[\U0001f3fb-\U0001f3ff]?)*)"
)
_HIDDEN = re.compile(
    "[" + "".join(HIDDEN_NAMES) + r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufe00-\ufe0f\ufff0-\ufffb"
    "\ue0f0\ue0f1\U000e0000-\U000e01ef]"
)
# Private-use marks carry hidden characters through Markdown; in the text itself they count as hidden characters.
_OPEN, _CLOSE = "\ue0f0", "\ue0f1"
_MARKED = re.compile(f"{_OPEN}([0-9A-F]{{2,6}}){_CLOSE}")
_ESCAPED_MARK = re.compile("%EE%83%B0([0-9A-F]{2,6})%EE%83%B1", re.IGNORECASE)


def hidden_name(char: str) -> str:
    """What a reader is shown in place of a character that draws nothing: ``RLO``, ``TAG A``, ``U+0007``."""
    code = ord(char)
    if 0xE0020 <= code <= 0xE007E:
        return f"TAG {chr(code - 0xE0000)}".rstrip()
    return HIDDEN_NAMES.get(char) or f"U+{code:04X}"


def _mark(text: str) -> str:
    """Replace each hidden character by its number between two marks, so that Markdown cannot act on it."""

    def outside(part: str) -> str:
        return _HIDDEN.sub(lambda match: f"{_OPEN}{ord(match[0]):02X}{_CLOSE}", part)

    text = text.replace("\r\n", "\n").replace("\r", "\n")
    parts, end = [], 0
    for emoji in _EMOJI.finditer(text):
        parts += [outside(text[end : emoji.start()]), emoji[0]]
        end = emoji.end()
    return "".join([*parts, outside(text[end:])])


def _badge(match: re.Match[str]) -> str:
    char = chr(int(match[1], 16))
    title = unicodedata.name(char, "hidden character").lower()
    return f'<span class="hidden-char" title="{escape(title)}">{escape(hidden_name(char))}</span>'


def _in_attribute(match: re.Match[str]) -> str:
    return f"[{hidden_name(chr(int(match[1], 16)))}]"


def _show_hidden(html: str) -> str:
    """Turn marks into badges between tags, and into plain names inside them (an attribute cannot hold a tag)."""
    if _OPEN not in html and "%EE%83%B0" not in html.upper():
        return html
    parts = re.split(r"(<[^>]*>)", html)
    for index, part in enumerate(parts):
        if index % 2:
            parts[index] = _ESCAPED_MARK.sub(_in_attribute, _MARKED.sub(_in_attribute, part))
        else:
            parts[index] = _MARKED.sub(_badge, part)
    return "".join(parts)


# ---- maths -----------------------------------------------------------------------------------------------------------

_INLINE_MATH = (("\\(", "\\)", False), ("\\[", "\\]", True), ("$$", "$$", True), ("$", "$", False))


def _inline_math(state: StateInline, silent: bool) -> bool:
    """``$…$``, ``$$…$$``, ``\\(…\\)`` and ``\\[…\\]`` in a line; a dollar before a digit or a space is money."""
    for start, stop, display in _INLINE_MATH:
        if not state.src.startswith(start, state.pos):
            continue
        begin = state.pos + len(start)
        end = _math_end(state.src, begin, stop, state.posMax)
        if end < 0:
            if start == "$$":
                return False
            continue
        tex = state.src[begin:end]
        if stop == "$" and (
            tex[0].isspace() or tex[-1].isspace() or state.src[end + 1 : end + 2].isdigit() or "\n\n" in tex
        ):
            return False
        if not silent:
            token = state.push("math", "", 0)
            token.content, token.meta = tex, {"display": display, "source": state.src[state.pos : end + len(stop)]}
        state.pos = end + len(stop)
        return True
    return False


def _math_end(source: str, begin: int, stop: str, limit: int) -> int:
    """Where ``stop`` closes, or -1: not empty, not too long, not behind a backslash."""
    end = source.find(stop, begin, min(limit, begin + MAX_TEX_CHARS))
    while end > 0 and stop.startswith("$") and source[end - 1] == "\\":
        end = source.find(stop, end + 1, min(limit, begin + MAX_TEX_CHARS))
    return end if end > begin else -1


def _block_math(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    """A paragraph that opens with ``$$`` or ``\\[`` and closes the same way, over several lines."""
    begin = state.bMarks[start_line] + state.tShift[start_line]
    for start, stop in (("$$", "$$"), ("\\[", "\\]")):
        if not state.src.startswith(start, begin):
            continue
        for line in range(start_line, end_line):
            tail = state.src[state.bMarks[line] : state.eMarks[line]].rstrip()
            one_line = line == start_line and len(tail.strip()) < len(start) + len(stop) + 1
            if not tail.strip() and line > start_line:
                return False
            if not tail.endswith(stop) or one_line:
                continue
            body = state.getLines(start_line, line + 1, state.tShift[start_line], False).strip()
            tex = body[len(start) : -len(stop)].strip()
            if not tex or stop in tex or len(tex) > MAX_TEX_CHARS:
                return False
            if silent:
                return True
            token = state.push("math", "", 0)
            token.content, token.block, token.map = tex, True, [start_line, line + 1]
            token.meta = {"display": True, "source": body}
            state.line = line + 1
            return True
    return False


def _render_math(self: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
    token = tokens[index]
    kind = "math is-display" if token.meta["display"] else "math"
    return f'<span class="{kind}" data-tex="{escape(token.content)}">{escape(token.meta["source"])}</span>'


# ---- Markdown --------------------------------------------------------------------------------------------------------


_UNCOLOURED = re.compile(r'<span class="(?:p|n|o|w|x|nx|no|nv|g|go|l|ld|dl|-Token)">([^<]*)</span>')


_FORMATTER = HtmlFormatter(nowrap=True)  # makes a style sheet that is never used, each time it is made


def _highlighted(code: str, language: str) -> str:
    """A fenced block as Pygments' spans; empty where ``language`` is none that Pygments knows."""
    if not language or len(code) > MAX_CODE_CHARS or _OPEN in code:  # a lexer would tear the marks apart
        return ""
    try:
        lexer = get_lexer_by_name(language[:40].lower(), stripnl=False)
    except ClassNotFound:
        return ""
    return _UNCOLOURED.sub(r"\1", highlight(code, lexer, _FORMATTER))


def _render_fence(self: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
    code, info = tokens[index].content, tokens[index].info.strip()
    inner = _highlighted(code, info)
    if not inner:
        # What stands after the fence is text too: where it is not the name of a language, it must not be hidden.
        inner = (f"{escape(info)}\n" if info else "") + escape(code)
    return f'<div class="highlight"><pre><code>{inner}</code></pre></div>\n'


def _render_image(self: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
    """An image is never loaded (its host would learn who reads what, and when): a link says what it is."""
    token = tokens[index]
    words = self.renderInlineAsText(token.children, options, env) or "image"
    return f'<a class="image-link" href="{escape(str(token.attrs.get("src", "")))}">{escape(words)}</a>'


def _align(tokens: Sequence[Token]) -> None:
    """Cells come with a style attribute, which the content security policy refuses: use classes."""
    for token in tokens:
        if token.type in ("td_open", "th_open") and token.attrs.get("style"):
            style = str(token.attrs.pop("style"))
            if "right" in style or "center" in style:
                token.attrSet("class", "is-number" if "right" in style else "is-centred")


def _drops_cells(tokens: Sequence[Token], lines: Sequence[str]) -> bool:
    """Whether a row of a table has more cells than its head: Markdown leaves them out, and a reader must not miss text."""
    for index, token in enumerate(tokens):
        if token.type != "table_open" or token.map is None:
            continue
        head = tokens[index : index + 3 * (MAX_COUNTS["|"] + 1)]
        n_columns = sum(1 for cell in head[: _first(head, "thead_close")] if cell.type == "th_open")
        rows = lines[token.map[0] + 2 : token.map[1]]
        if any(len(_cells(row)) > n_columns for row in rows):
            return True
    return False


def _first(tokens: Sequence[Token], kind: str) -> int:
    return next((index for index, token in enumerate(tokens) if token.type == kind), len(tokens))


def _cells(row: str) -> list[str]:
    cells = escapedSplit(row.lstrip("> \t").rstrip())
    return cells[bool(cells and not cells[0].strip()) : len(cells) - bool(cells and not cells[-1].strip())]


def _build() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "linkify": False, "maxNesting": MAX_DEPTH})
    parser.enable(["table", "strikethrough"])
    # A definition of a link draws nothing: an answer could say to the trainer what no reader sees.
    parser.disable(["html_block", "html_inline", "reference"])
    parser.block.ruler.before("fence", "math", _block_math, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    parser.inline.ruler.before("escape", "math", _inline_math)
    parser.add_render_rule("math", _render_math)
    parser.add_render_rule("fence", _render_fence)
    parser.add_render_rule("code_block", _render_fence)
    parser.add_render_rule("image", _render_image)
    return parser


_PARSER = _build()


def is_too_much(text: str) -> bool:
    """Whether ``text`` is shown as plain text because rendering it could hold up a page."""
    if len(text) > MAX_CHARS or any(text.count(sign) > most for sign, most in MAX_COUNTS.items()):
        return True
    return any(len(line) > MAX_LINE for line in text.split("\n"))


@lru_cache(maxsize=512)
def _rendered(text: str) -> str:
    if is_too_much(text):
        return f'<div class="markdown-plain">{render_plain(text)}</div>'
    env: MutableMapping[str, Any] = {}
    marked = _mark(text)
    tokens = _PARSER.parse(marked, env)
    if _drops_cells(tokens, marked.split("\n")):
        return f'<div class="markdown-plain">{render_plain(text)}</div>'
    _align(tokens)
    html = _PARSER.renderer.render(tokens, _PARSER.options, env)
    return clean(_show_hidden(html))


# Made once: to hand the lists over anew costs more than the cleaning.
_CLEANER = nh3.Cleaner(
    tags=TAGS,
    attributes=ATTRIBUTES,
    allowed_classes=CLASSES,
    url_schemes=SCHEMES,
    link_rel="noopener noreferrer nofollow",
    url_relative="deny",  # a link into our own pages could be dressed up as one of our buttons
)


def clean(html: str) -> str:
    """Keep the allow-list of tags, attributes, classes and schemes; ids, styles, events and ``hx-`` are never on it."""
    return _CLEANER.clean(html)


def render_markdown(text: str) -> SafeString:
    """Markdown of a stranger as safe HTML. The same text always gives the same bytes."""
    return mark_safe(_rendered(text))


def render_plain(text: str) -> SafeString:
    """Text of a stranger, escaped, as it is: no Markdown, hidden characters shown. For ``white-space: pre-wrap``."""
    cut = text[:MAX_PLAIN_CHARS]
    note = f"\n… {len(text) - len(cut):,} more characters" if len(cut) < len(text) else ""
    return mark_safe(_show_hidden(escape(_mark(cut))) + note)
