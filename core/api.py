"""What all of the REST API shares: one shape of error, pages by cursor, entity tags, and JSON that both databases can keep.

Apart from ``core.problems``, which is loaded before REST framework may be.
"""

import hashlib
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from typing import IO, Any

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db.models import Model, QuerySet
from django.utils.http import parse_etags
from rest_framework import serializers
from rest_framework.exceptions import APIException, ErrorDetail, ParseError, ValidationError
from rest_framework.parsers import JSONParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import exception_handler

from core.errors import DomainError, require
from core.problems import Problem, problem_json
from core.reading import Unusable, check_strings, parse_json

MAX_KEYS = 1_000_000  # of one request; its size is bounded by DATA_UPLOAD_MAX_MEMORY_SIZE
LARGEST_ID = 2**63 - 1
PAGE_SIZE, MAX_PAGE_SIZE = 50, 200
MAX_CURSOR = 80
HOWS = {
    401: "Send a token: Authorization: Bearer wst_...",
    415: "Send application/json, or multipart/form-data where a file is uploaded.",
    429: "Wait as many seconds as the header Retry-After says.",
}


class PreconditionFailed(APIException):
    """If-Match named another state than the one that stands (412)."""

    status_code = 412
    default_detail = "This has changed since you read it."


# ---- errors ------------------------------------------------------------------------------------------------------------


def api_exception_handler(exception: Exception, context: dict[str, Any]) -> Response | None:
    """Every error in the one shape: a sentence, the way on, and what is wrong field by field. Bad input is 422."""
    request_id = getattr(context["request"]._request, "request_id", "")
    if isinstance(exception, DomainError):
        wrong = {name: [exception.sentence] for name in getattr(exception, "fields", ())}
        return _told(exception.status_code, exception.sentence, exception.how, wrong, request_id)
    if isinstance(exception, ValidationError):
        fields = dict(_by_field(exception.detail))
        return _told(422, *_in_a_sentence(fields), fields, request_id)
    if isinstance(exception, RequestDataTooBig):
        return _told(413, "The request is too large.", "Send a file, or fewer lines.", {}, request_id)
    if isinstance(exception, SuspiciousOperation):  # more fields than are read, a file name that is none
        return _told(400, "This request could not be read.", "", {}, request_id)
    response = exception_handler(exception, context)
    if response is None:
        return None
    detail = response.data.get("detail") if isinstance(response.data, dict) else None
    how = getattr(exception, "how", "") or HOWS.get(response.status_code, "")
    told = _told(response.status_code, str(detail or "The request could not be answered."), how, {}, request_id)
    for name in ("WWW-Authenticate", "Retry-After", "Allow"):
        if name in response.headers:
            told.headers[name] = response.headers[name]
    return told


def _told(status: int, sentence: str, how: str, fields: Mapping[str, list[str]], request_id: str) -> Response:
    problem = Problem(status=status, title="", sentence=sentence, how=how, request_id=request_id)
    return Response(problem_json(problem, fields), status=status)


def _in_a_sentence(fields: Mapping[str, list[str]]) -> tuple[str, str]:
    name, sentences = next(iter(fields.items()), ("", ["The request does not have the expected form."]))
    return (
        f"{name}: {sentences[0]}" if name else sentences[0]
    ), "Correct the fields that are named, and send it again."


def _by_field(detail: Any, path: str = "") -> Iterator[tuple[str, list[str]]]:
    """Nested errors as ``arms.0.sampling`` -> sentences."""
    if isinstance(detail, Mapping):
        for name, below in detail.items():
            step = "" if name == "non_field_errors" else str(name)
            yield from _by_field(below, f"{path}.{step}".strip("."))
    elif isinstance(detail, list) and all(isinstance(each, ErrorDetail) for each in detail):
        yield path, [str(each) for each in detail]
    elif isinstance(detail, list):
        for number, below in enumerate(detail):
            yield from _by_field(below, f"{path}.{number}".strip("."))
    else:
        yield path, [str(detail)]


class ErrorSerializer(serializers.Serializer[Any]):
    """What went wrong. Every refusal of the API looks like this."""

    error = serializers.CharField(help_text="one sentence: what happened")
    how = serializers.CharField(allow_blank=True, help_text="what to do about it")
    fields_ = serializers.DictField(
        child=serializers.ListField(child=serializers.CharField()), help_text="what is wrong, field by field"
    )
    request_id = serializers.CharField(allow_blank=True, help_text="names the request in the server's log")

    def get_fields(self) -> dict[str, Any]:
        # A serializer has a property ``fields`` of its own.
        return {name.rstrip("_"): field for name, field in super().get_fields().items()}


# ---- what comes in -----------------------------------------------------------------------------------------------------


class PlainJSONParser(JSONParser):
    """JSON that both databases keep as it is: what an importer refuses in a row is refused in a request."""

    def parse(self, stream: IO[bytes], media_type: str | None = None, parser_context: Any = None) -> Any:
        try:
            found = parse_json(stream.read().decode())
            check_strings(found, max_keys=MAX_KEYS)
        except UnicodeDecodeError:
            raise ParseError("The request is not UTF-8.") from None
        except Unusable as problem:
            raise ParseError(str(problem).replace("The row", "The JSON").replace("The line", "The request")) from None
        return found


class StrictSerializer(serializers.Serializer[Any]):
    """Input of which nothing is passed over in silence: a field that there is not is an error, as a misspelt one should be."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            refuse_unknown(data, self.fields)
        return super().to_internal_value(data)


def refuse_unknown(given: Iterable[str], known: Container[str]) -> None:
    unknown = sorted(str(name) for name in given if name not in known)
    if unknown:
        raise ValidationError({name[:100]: ["There is no such field here."] for name in unknown})


# ---- pages -------------------------------------------------------------------------------------------------------------


class PageSerializer(serializers.Serializer[Any]):
    """Every list takes these."""

    cursor = serializers.CharField(
        required=False, max_length=MAX_CURSOR, help_text="of the page before, as its ``next`` names it"
    )
    limit = serializers.IntegerField(
        required=False, default=PAGE_SIZE, min_value=1, max_value=MAX_PAGE_SIZE, help_text="rows of one page"
    )


def page_of(
    request: Request,
    rows: QuerySet[Any],
    given: Mapping[str, Any],
    tell: Callable[[list[Any]], list[Any]],
    *,
    by: str = "key",
    is_newest_first: bool = True,
) -> Response:
    """``{"results": [...], "next": address or null}``: at most ``limit`` rows from the cursor on, by primary key.

    by  the public field that a cursor holds; it names the last row of the page before
    """
    if cursor := given.get("cursor"):
        rows = _after(rows, cursor, by, is_newest_first)
    found = list(rows.order_by("-pk" if is_newest_first else "pk")[: given["limit"] + 1])
    shown = found[: given["limit"]]
    more = _public(shown[-1], by) if len(found) > len(shown) else None
    return answer_page(request, tell(shown), more)


def answer_page(request: Request, results: list[Any], cursor: str | None) -> Response:
    """A page whose next one begins at ``cursor``; None for the last."""
    following = None
    if cursor is not None:
        query = request.query_params.copy()
        query["cursor"] = cursor
        following = request.build_absolute_uri(f"{request.path}?{query.urlencode()}")
    return Response({"results": results, "next": following})


def _after(rows: QuerySet[Any], cursor: str, by: str, is_newest_first: bool) -> QuerySet[Any]:
    # Among all rows, not the filtered ones: the row may have left the filter since the page before.
    model: type[Model] = rows.model
    pk = model._default_manager.filter(**{by: cursor}).values_list("pk", flat=True).first() if by != "pk" else None
    if by == "pk" and cursor.isdecimal() and int(cursor) <= LARGEST_ID:
        pk = int(cursor)
    require(pk is not None, "This cursor is unknown.", how="Begin again without one.")
    return rows.filter(pk__lt=pk) if is_newest_first else rows.filter(pk__gt=pk)


def _public(row: Any, by: str) -> str:
    for step in by.split("__"):
        row = getattr(row, step)
    return str(row)


# ---- entity tags -------------------------------------------------------------------------------------------------------


def etag_of(data: Any) -> str:
    """The tag of an object as it is told: of its bytes, so nothing but what is shown enters."""
    return f'"{hashlib.sha256(JSONRenderer().render(data)).hexdigest()[:32]}"'


def tagged(request: Request, data: Any, *, status: int = 200) -> Response:
    """One object with its ETag; 304 without it where If-None-Match has that very state."""
    tag = etag_of(data)
    if request.method in ("GET", "HEAD") and _names(request.headers.get("If-None-Match", ""), tag):
        return Response(status=304, headers={"ETag": tag})
    return Response(data, status=status, headers={"ETag": tag})


def check_unchanged(request: Request, data: Any) -> None:
    """Raises PreconditionFailed where If-Match names another state than ``data``, which stands."""
    if (wanted := request.headers.get("If-Match")) is not None and not _names(wanted, etag_of(data)):
        raise PreconditionFailed()


def _names(header: str, tag: str) -> bool:
    found = [each.removeprefix("W/") for each in parse_etags(header)]
    return "*" in found or tag in found
