"""What a request sends to be imported: a file within its bound, or lines."""

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from core.errors import DomainError
from core.uploads import sent, too_large


@pytest.fixture
def one_mib(settings: Any) -> None:
    settings.WHETSTONE = settings.WHETSTONE.model_copy(update={"upload_max_mib": 1})


def test_lines_are_read_as_the_file_that_they_would_be() -> None:
    assert sent(None, [{"prompt": "Wie groß?"}, "text"]).read() == b'{"prompt": "Wie gro\\u00df?"}\n"text"\n'


def test_a_file_is_passed_on_as_it_is() -> None:
    file = SimpleUploadedFile("a.jsonl", b"{}")
    assert sent(file, None).read() == b"{}"


@pytest.mark.parametrize(("file", "lines"), [(None, None), (SimpleUploadedFile("a.jsonl", b"{}"), [{}])])
def test_it_is_a_file_or_lines_and_not_both(file: Any, lines: Any) -> None:
    with pytest.raises(DomainError, match="either a file or lines"):
        sent(file, lines)


@pytest.mark.usefixtures("one_mib")
def test_a_file_above_the_bound_is_refused_and_one_at_it_is_not() -> None:
    at_most, more = SimpleUploadedFile("a", bytes(1 << 20)), SimpleUploadedFile("b", bytes((1 << 20) + 1))
    assert len(sent(at_most, None).read()) == 1 << 20 and too_large(at_most) == ""
    with pytest.raises(DomainError, match="larger than 1 MiB") as refused:
        sent(more, None)
    assert refused.value.how == "Split it."
