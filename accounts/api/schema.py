"""The OpenAPI page of the API, from what each resource declares (``accounts.api.base.Call``). What declares nothing is left out."""

from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, inline_serializer
from rest_framework import serializers

from accounts.api.base import Call, operation_of
from accounts.api.once import HEADER
from accounts.tokens import Scope
from core.api import ErrorSerializer, PageSerializer

REFUSED = {
    400: "The request cannot be read.",
    401: "There is no token, or it is unknown, expired or revoked.",
    403: "The token does not carry the scope, or its owner may no longer do this.",
    404: "There is nothing of this project at the address.",
    406: "No answer of the kind that Accept names.",
    409: "The world has moved on: a lost lease, a second click, a state that does not allow it.",
    412: "If-Match names another state than the one that stands.",
    413: "The request is too large.",
    415: "The body is of a kind that is not read here.",
    422: "What was sent cannot be done: the sentence says why, ``fields`` where.",
    429: "Too many requests with this token; Retry-After says when to go on.",
    503: "The database is very busy. Nothing was stored; send it again in a moment.",
}
ALWAYS = (401, 403, 404, 406, 429, 503)
WITH_BODY = (400, 409, 412, 413, 415, 422)


class ApiSchema(AutoSchema):
    """Reads the declaration of the method at hand."""

    @property
    def call(self) -> Call:
        found = operation_of(self.view, self.method)
        assert found is not None
        return found

    def is_excluded(self) -> bool:
        return operation_of(self.view, self.method) is None

    def get_operation_id(self) -> str:
        steps = [step.strip("{}") for step in self._steps()]
        return "_".join([self.method.lower(), *(step.replace("-", "_") for step in steps)])

    def _steps(self) -> list[str]:
        """The address below the project."""
        steps = self.path.strip("/").split("/")[2:]
        return steps[2:] if steps[:2] == ["projects", "{project}"] and len(steps) > 2 else steps

    def get_tags(self) -> list[str]:
        return [self._steps()[0].replace("-", " ")]

    def get_summary(self) -> str:
        return self._said().split("\n")[0]

    def get_description(self) -> str:  # type: ignore[override]  # as in the class above it
        rest = "\n".join(line.strip() for line in self._said().split("\n")[1:]).strip()
        scopes = " or ".join(f"`{scope.value}`" for scope in self.call.scopes)
        needs = f"Scope: {scopes}." if len(self.call.scopes) < len(Scope) else "Any scope."
        return f"{rest}\n\n{needs}".strip()

    def _said(self) -> str:
        method = getattr(self.view, self.method.lower())
        return (method.__doc__ or type(self.view).__doc__ or "").strip()

    def get_auth(self) -> list[dict[str, Any]]:
        return [{"token": []}]

    def get_request_serializer(self) -> Any:
        return self.call.asks

    def get_override_parameters(self) -> list[Any]:
        found: list[Any] = [self.call.query] if self.call.query else []
        if self.call.lists:
            found.append(PageSerializer)
        if self.call.once or self.call.once_by_key:
            found.append(
                _header(HEADER, "Sent again with the same key, the request is answered as it was the first time.")
            )
        if self.call.tells and self.method == "GET":
            found.append(_header("If-None-Match", "The ETag of what you have: 304 if it still stands."))
        if self.method in ("PATCH", "DELETE") and self.call.tells:
            found.append(_header("If-Match", "The ETag of what you have read: 412 if it has changed since."))
        return found

    def get_response_serializers(self) -> Any:
        call = self.call
        codes = {*ALWAYS, 409, 422, *(() if self.method in ("GET", "DELETE") else WITH_BODY)}
        answers: dict[Any, Any] = {
            code: OpenApiResponse(ErrorSerializer, description=REFUSED[code]) for code in sorted(codes)
        }
        return {**self._good(call), **answers}

    def _good(self, call: Call) -> dict[Any, Any]:
        if call.media_types:
            return {(call.status, media_type): OpenApiTypes.BINARY for media_type in call.media_types}
        if call.lists is not None:
            return {200: _page(call.lists)}
        if call.tells is None:
            return {204: OpenApiResponse(description="Done.")}
        good: dict[Any, Any] = {call.status: call.tells}
        if call.status == 201:
            good[200] = OpenApiResponse(
                call.tells, description="It was there already: the same request, or the same file."
            )
        if self.method == "GET":
            good[304] = OpenApiResponse(description="It is as If-None-Match says.")
        return good


def _header(name: str, words: str) -> OpenApiParameter:
    return OpenApiParameter(name, str, OpenApiParameter.HEADER, description=words)


def _page(of: Any) -> Any:
    return inline_serializer(
        f"PageOf{of.__name__}",
        {
            "results": of(many=True),
            "next": serializers.URLField(allow_null=True, help_text="the next page; null: none"),
        },
    )
