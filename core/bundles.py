"""Style sheets and scripts that a page loads together are sent as one file, compressed, and kept by browsers for good.

The sources stay one small file a behaviour; they are put together when they are first asked for, so there is no build. The
address holds the hash of the content: another content is another address.
"""

import gzip
import posixpath
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles import finders
from django.http import Http404, HttpRequest, HttpResponse
from django.templatetags.static import static
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from core.ids import sha256_hex

BUNDLES: dict[str, tuple[str, ...]] = {
    "base.css": ("css/tokens.css", "css/base.css", "css/components.css"),
    "base.js": (
        "vendor/htmx/htmx.min.js", "js/theme.js", "js/toast.js", "js/menu.js", "js/dialog.js", "js/confirm.js", "js/copy.js",
        "js/focus.js", "js/log.js", "js/keep.js", "js/chart.js", "js/maths.js",
    ),
    "annotate.css": ("css/annotate.css",),
    "annotate.js": (
        "js/annotate.js", "js/annotate-time.js", "js/annotate-send.js", "js/annotate-draft.js", "js/annotate-lease.js",
        "js/annotate-break.js", "js/annotate-rank.js", "js/annotate-read.js", "js/annotate-diff.js",
    ),
    "katex.js": ("vendor/katex/katex.min.js",),
    "katex.css": ("vendor/katex/katex.min.css",),
}  # fmt: skip
TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
FOR_GOOD = "public, max-age=31536000, immutable"
_RELATIVE = re.compile(r"url\((?!['\"]?(?:data:|/|https?:))(['\"]?)([^)'\"]+)\1\)")


@dataclass(frozen=True, slots=True)
class Bundle:
    content: bytes
    packed: bytes
    digest: str


def bundle_of(name: str) -> Bundle:
    """What stands in the sources now; while developing they are looked at each time. Raises KeyError for no bundle."""
    paths = tuple(_found(source) for source in BUNDLES[name])
    stamps = tuple(path.stat().st_mtime_ns for path in paths) if settings.DEBUG else ()
    return _built(name, stamps)


@lru_cache(maxsize=64)
def _built(name: str, stamps: tuple[int, ...]) -> Bundle:
    parts = [_part(source) for source in BUNDLES[name]]
    content = "\n".join(parts).encode()
    return Bundle(content, gzip.compress(content, 9, mtime=0), sha256_hex(content.decode())[:16])


def _part(source: str) -> str:
    text = _found(source).read_text(encoding="utf-8")
    if source.endswith(".css"):
        # What a sheet points at stays where it is.
        return _RELATIVE.sub(lambda match: f"url({static(posixpath.join(posixpath.dirname(source), match[2]))})", text)
    return f"{text.rstrip()}\n;"


def _found(source: str) -> Path:
    path = finders.find(source)
    assert isinstance(path, str), f"There is no static file {source}."
    return Path(path)


def bundle_url(name: str) -> str:
    return reverse("bundle", args=[bundle_of(name).digest, name])


@require_safe
def serve(request: HttpRequest, digest: str, name: str) -> HttpResponse:
    """A bundle. One whose hash has passed is answered with what stands now, and not to be kept."""
    if name not in BUNDLES:
        raise Http404("No such bundle.")
    bundle = bundle_of(name)
    takes_gzip = "gzip" in request.headers.get("Accept-Encoding", "")
    response = HttpResponse(
        bundle.packed if takes_gzip else bundle.content, content_type=TYPES[posixpath.splitext(name)[1]]
    )
    if takes_gzip:
        response.headers["Content-Encoding"] = "gzip"
    patch_vary_headers(response, ("Accept-Encoding",))
    response.headers["Cache-Control"] = FOR_GOOD if digest == bundle.digest else "no-cache"
    return response
