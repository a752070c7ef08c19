"""Stored files over HTTP: as attachments, whole or in part, so that a large download can go on where it broke off."""

import re
from collections.abc import Iterator
from pathlib import Path

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.http import content_disposition_header, parse_etags

CHUNK_BYTES = 1 << 18
TYPES = {
    ".jsonl": "application/jsonl", ".json": "application/json", ".parquet": "application/vnd.apache.parquet",
    ".zst": "application/zstd", ".csv": "text/csv; charset=utf-8", ".zip": "application/zip",
    ".md": "text/markdown; charset=utf-8",
}  # fmt: skip
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def range_of(header: str, n_bytes: int) -> tuple[int, int] | None:
    """The one range asked for, as (first, last) byte; None for no range, or one that is not understood.

    Several ranges at once are not understood, as RFC 9110 allows. Raises ValueError for one that the file does not have.
    """
    match = _RANGE.fullmatch(header.replace(" ", ""))
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:  # the last so many bytes
        start, end = max(0, n_bytes - int(last)), n_bytes - 1
        empty = int(last) == 0 or n_bytes == 0
    else:
        start, end = int(first), min(int(last), n_bytes - 1) if last else n_bytes - 1
        if last and int(last) < int(first):
            return None
        empty = start >= n_bytes
    if empty:
        raise ValueError("the file has no such range")
    return start, end


def download(request: HttpRequest, path: Path, *, name: str, sha256: str) -> HttpResponseBase:
    """The file as an attachment called ``name``; one range of it where asked (206), 416 for a range it does not have.

    304 for who holds it already: If-None-Match comes before Range and If-Range (RFC 9110, 13.2.2).
    """
    n_bytes, etag = path.stat().st_size, f'"{sha256}"'
    if _holds(request, etag):
        return HttpResponse(status=304, headers={"ETag": etag})
    asked = request.headers.get("Range", "")
    if request.headers.get("If-Range", etag) != etag:
        asked = ""
    try:
        part = range_of(asked, n_bytes)
    except ValueError:
        return HttpResponse(status=416, headers={"Content-Range": f"bytes */{n_bytes}"})
    first, last = part or (0, n_bytes - 1)
    length = last - first + 1
    response = StreamingHttpResponse(_bytes(path, first, length), status=206 if part else 200)
    response.headers["Content-Type"] = TYPES.get(path.suffix, "application/octet-stream")
    response.headers["Content-Length"] = str(length)
    response.headers["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["ETag"] = etag
    response.headers["X-Content-Type-Options"] = "nosniff"
    if part:
        response.headers["Content-Range"] = f"bytes {first}-{last}/{n_bytes}"
    return response


def _holds(request: HttpRequest, etag: str) -> bool:
    held = [each.removeprefix("W/") for each in parse_etags(request.headers.get("If-None-Match", ""))]
    return "*" in held or etag in held


def _bytes(path: Path, first: int, length: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(first)
        while length > 0 and (chunk := file.read(min(CHUNK_BYTES, length))):
            length -= len(chunk)
            yield chunk
