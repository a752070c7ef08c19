"""What an HTTP client that holds a file, or a part of it, is answered."""

import pytest
from django.test import RequestFactory

from core.downloads import download

SHA = "5" * 64
TAG = f'"{SHA}"'


@pytest.fixture
def answer(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"0123456789")

    def ask(method="get", **headers):
        request = getattr(RequestFactory(), method)("/", headers={n.replace("_", "-"): v for n, v in headers.items()})
        return download(request, path, name="rows.jsonl", sha256=SHA)

    return ask


@pytest.mark.parametrize("held", [TAG, f"W/{TAG}", f'"other", {TAG}', "*"])
@pytest.mark.parametrize("method", ["get", "head"])
def test_who_holds_the_file_is_not_sent_it_again(answer, held, method):
    told = answer(method, If_None_Match=held)
    assert (told.status_code, told.headers["ETag"], told.content) == (304, TAG, b"")


@pytest.mark.parametrize("held", ['"other"', 'W/"other"', SHA, ""])
def test_who_holds_another_file_is_sent_this_one(answer, held):
    told = answer(If_None_Match=held)
    assert (told.status_code, told.getvalue()) == (200, b"0123456789")


def test_if_none_match_comes_before_a_range_and_if_range_after_it(answer):
    part = {"Range": "bytes=2-3"}
    assert answer(If_None_Match=TAG, **part).status_code == 304
    assert answer(If_None_Match=TAG, If_Range='"other"', **part).status_code == 304
    assert answer(If_None_Match=TAG, Range="bytes=99-").status_code == 304
    told = answer(If_None_Match='"other"', If_Range=TAG, **part)
    assert (told.status_code, told.getvalue()) == (206, b"23")
    assert answer(If_None_Match='"other"', If_Range='"other"', **part).status_code == 200
