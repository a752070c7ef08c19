"""A browser without a screen: pages as forms and texts, over HTTP with cookies. For simulated people, the demo and tests."""

import time
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urlsplit

import httpx

from core.errors import DomainError

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
BLOCKS = {"p", "div", "li", "pre", "h1", "h2", "h3", "h4", "h5", "h6", "tr", "blockquote", "ul", "ol"}
TIMEOUT_SECONDS = 60.0


class PageProblem(DomainError):
    """A page answered with an error, or has not the form that was asked for."""


@dataclass
class Form:
    """One form with what it would send untouched; what may be added or changed stands beside it.

    buttons, options  (name, value): buttons; choices of radio buttons, boxes and selects that are not made
    least             of a text that is required: how many characters it has at least
    """

    action: str
    id: str = ""
    fields: dict[str, list[str]] = field(default_factory=dict)
    buttons: list[tuple[str, str]] = field(default_factory=list)
    options: list[tuple[str, str]] = field(default_factory=list)
    least: dict[str, int] = field(default_factory=dict)

    def offers(self, name: str) -> list[str]:
        """The values that a person may give this field, as the page has them."""
        return [value for given, value in [*self.options, *self.buttons] if given == name and value]


@dataclass
class Page:
    """A page as a person's browser has it."""

    url: str
    status: int = 200
    forms: list[Form] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    turns: list[tuple[str, str]] = field(default_factory=list)
    headings: list[str] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)  # (words, address)
    text: str = ""

    def form(self, action: str = "", *, id: str = "") -> Form | None:
        """The form with this id, or the first one that posts to ``action``."""
        for form in self.forms:
            if (id and form.id == id) or (not id and urlsplit(form.action).path == action):
                return form
        return None


class _Reader(HTMLParser):
    """Collects forms, answers, prompt turns and headings; a stack tells where each text belongs."""

    def __init__(self, page: Page) -> None:
        super().__init__(convert_charrefs=True)
        self.page = page
        self.stack: list[tuple[str, dict[str, str]]] = []
        self.form: Form | None = None
        self.select: tuple[str, list[tuple[str, bool]]] | None = None
        self.textarea: tuple[str, str, list[str]] | None = None
        self.pieces: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value if value is not None else "" for name, value in attrs}
        if tag not in VOID:
            self.stack.append((tag, given))
        if tag == "form":
            self.form = Form(action=given.get("action", ""), id=given.get("id", ""))
            self.page.forms.append(self.form)
        elif tag in ("h1", "h2"):
            self.page.headings.append("")
        elif tag == "a" and given.get("href"):
            self.page.links.append(("", given["href"]))
        elif "data-answer" in given:
            self.page.answers[given["data-answer"]] = ""
        elif tag == "div" and "data-role" in given:
            self.page.turns.append((given["data-role"], ""))
        elif tag == "textarea":
            self.textarea = (given.get("name", ""), given.get("form", ""), [])
        elif tag == "select":
            self.select = (given.get("name", ""), [])
        elif tag == "option" and self.select is not None:
            self.select[1].append((given.get("value", ""), "selected" in given))
        if "disabled" not in given:
            self._control(tag, given)
        if tag in BLOCKS or tag == "br":
            self._write("\n")

    def _control(self, tag: str, given: dict[str, str]) -> None:
        form, name = self._owner(given.get("form", "")), given.get("name", "")
        if form is None or not name:
            return
        kind = given.get("type", "submit" if tag == "button" else "text")
        if tag == "button" and kind == "submit":
            form.buttons.append((name, given.get("value", "")))
        elif tag == "textarea" and "required" in given:
            form.least[name] = int(given.get("data-least") or 1)
        elif tag == "input" and kind in ("radio", "checkbox") and "checked" not in given:
            form.options.append((name, given.get("value", "on")))
        elif tag == "input" and (kind not in ("radio", "checkbox", "submit", "file") or "checked" in given):
            form.fields.setdefault(name, []).append(given.get("value", "on" if kind in ("radio", "checkbox") else ""))

    def _owner(self, form_id: str) -> Form | None:
        return self.page.form(id=form_id) if form_id else self.form

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.form = None
        elif tag == "textarea" and self.textarea is not None:
            name, form_id, words = self.textarea
            self.textarea = None
            if (form := self._owner(form_id)) is not None and name:
                form.fields.setdefault(name, []).append("".join(words).removeprefix("\n"))
        elif tag == "select" and self.select is not None:
            name, options = self.select
            self.select = None
            chosen = [value for value, is_selected in options if is_selected] or [value for value, _ in options[:1]]
            if self.form is not None and name:
                self.form.options += [(name, value) for value, is_selected in options if not is_selected]
            if self.form is not None and name and chosen:
                self.form.fields.setdefault(name, []).extend(chosen)
        while self.stack and self.stack.pop()[0] != tag:
            pass
        if tag in BLOCKS:
            self._write("\n")

    def handle_data(self, data: str) -> None:
        if self.textarea is not None:
            self.textarea[2].append(data)
        else:
            self._write(data)

    def _write(self, data: str) -> None:
        if any(tag in ("script", "style") for tag, _ in self.stack):
            return
        self.pieces.append(data)
        for tag, given in reversed(self.stack):
            if "data-answer" in given:
                self.page.answers[given["data-answer"]] += data
            elif tag in ("h1", "h2"):
                self.page.headings[-1] += data
            elif tag == "a" and given.get("href"):
                words, address = self.page.links[-1]
                self.page.links[-1] = (words + data, address)
                continue  # the words of a link belong to what it stands in, too
            elif tag == "div" and "data-role" in given:
                role, text = self.page.turns[-1]
                self.page.turns[-1] = (role, text + data)
            elif given.get("class") == "eyebrow":
                return  # a label, no part of what was written
            else:
                continue
            return


def read_page(html: str, *, url: str, status: int = 200) -> Page:
    page = Page(url=url, status=status)
    reader = _Reader(page)
    reader.feed(html)
    reader.close()
    page.text = "".join(reader.pieces)
    page.answers = {letter: text.strip() for letter, text in page.answers.items()}
    page.turns = [(role, text.strip()) for role, text in page.turns]
    page.links = [(" ".join(words.split()), address) for words, address in page.links]
    page.headings = [" ".join(heading.split()) for heading in page.headings]
    return page


class PageClient:
    """One person's browser: cookies, forms with their CSRF fields, redirects.

    javascript  send forms as htmx would: the answer is the next part of the page instead of a redirect
    """

    def __init__(self, base_url: str, *, javascript: bool = False) -> None:
        self.javascript = javascript
        self.seconds: list[float] = []  # of each form that was sent, until its answer had been read
        self._http = httpx.Client(base_url=base_url, follow_redirects=True, timeout=TIMEOUT_SECONDS)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> "PageClient":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def get(self, path: str) -> Page:
        """Open a page. Raises PageProblem where it answers with an error."""
        return self._read(self._http.get(path, headers={"Accept": "text/html"}))

    def submit(self, page: Page, action: str = "", *, id: str = "", **fields: str | list[str]) -> Page:
        """Send one of the page's forms, by its address or its id, with some fields filled in or a button's name and value."""
        form = page.form(action, id=id)
        if form is None:
            raise PageProblem(f"The page {page.url} has no form for {id or action}.")
        data: dict[str, list[str]] = {
            **form.fields,
            **{name: [value] if isinstance(value, str) else value for name, value in fields.items()},
        }
        headers = {"Accept": "text/html", "Referer": str(self._http.base_url.join(page.url))}
        if self.javascript:
            headers["HX-Request"] = "true"
        began = time.perf_counter()
        response = self._http.post(form.action or page.url, data=data, headers=headers)
        self.seconds.append(time.perf_counter() - began)
        return self._read(response)

    def open_link(self, path: str) -> Page:
        """Follow a one-time link as its reader would: open it, then press its button."""
        before, self.javascript = self.javascript, False
        try:
            return self.submit(self.get(path), path)
        finally:
            self.javascript = before

    def _read(self, response: httpx.Response) -> Page:
        address = str(response.url)
        page = read_page(
            response.text, url=response.headers.get("HX-Replace-Url", address), status=response.status_code
        )
        # A conflict is a page like any other: it says what happened and has a button to go on.
        if response.status_code >= 400 and response.status_code != 409:
            heading = page.headings[0] if page.headings else "no heading"
            raise PageProblem(f"{urlsplit(address).path} answered {response.status_code}: {heading}.")
        return page
