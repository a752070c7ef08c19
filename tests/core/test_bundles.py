"""Bundles: every source is in them, they are compressed and kept, and what a sheet points at is found."""

import gzip
import re

import pytest
from django.test import Client

from config.env import ROOT
from core.bundles import BUNDLES, FOR_GOOD, bundle_of, bundle_url


@pytest.mark.parametrize("name", BUNDLES)
def test_a_bundle_holds_its_sources_and_may_be_kept_for_good(name):
    response = Client().get(bundle_url(name), headers={"Accept-Encoding": "gzip, br"})
    assert response.status_code == 200 and response.headers["Cache-Control"] == FOR_GOOD
    assert response.headers["Content-Encoding"] == "gzip" and "Accept-Encoding" in response.headers["Vary"]
    plain = Client().get(bundle_url(name))
    assert "Content-Encoding" not in plain.headers
    assert gzip.decompress(response.content) == plain.content == bundle_of(name).content
    for source in BUNDLES[name]:
        if source.endswith(".js"):
            assert (ROOT / "static" / source).read_bytes().strip() in plain.content


def test_another_content_is_another_address_and_an_old_one_is_not_kept():
    assert len({bundle_url(name) for name in BUNDLES}) == len(BUNDLES)
    response = Client().get("/bundle/0123456789abcdef/base.css")
    assert response.status_code == 200 and response.headers["Cache-Control"] == "no-cache"
    assert Client().get("/bundle/0123456789abcdef/other.css").status_code == 404


def test_what_a_sheet_points_at_stays_where_it_is():
    urls = re.findall(r"url\(([^)]+)\)", bundle_of("katex.css").content.decode())
    assert urls and all(url.startswith("/static/vendor/katex/fonts/") for url in urls)
    assert all((ROOT / url.removeprefix("/")).exists() for url in urls)


def test_every_script_of_the_annotate_screen_is_in_its_bundle():
    own = {f"js/{path.name}" for path in (ROOT / "static" / "js").glob("annotate*.js")}
    assert own == set(BUNDLES["annotate.js"])
