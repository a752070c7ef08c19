"""How a resource of the REST API is written: a ``ProjectApi`` whose methods say with ``@call`` what they take and tell.

One declaration serves the checks, the answer, the OpenAPI page and the permission sweep. Methods stay as thin as views: they get
checked input, call one service, and return what it gave.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar, cast

from django.conf import settings
from django.core.cache import cache
from django.db.models import Model, QuerySet
from django.http import HttpResponseBase
from django.utils.cache import patch_vary_headers
from redis.exceptions import RedisError
from rest_framework import serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import NotFound
from rest_framework.fields import empty
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from accounts.access import membership_in, person
from accounts.api.once import key_for, once
from accounts.models import ApiToken, Membership, Project, User
from accounts.tokens import HasScope, Scope, TokenAuthentication
from core.api import PageSerializer, check_unchanged, page_of, refuse_unknown, tagged

logger = logging.getLogger(__name__)

Given = Mapping[str, Any]
Serializer = type[serializers.BaseSerializer[Any]]
M = TypeVar("M", bound=Callable[..., Any])
Row = TypeVar("Row", bound=Model)


JOB_FIELDS = ("status", "step", "total_steps", "unit", "message", "error", "created_at", "started_at", "finished_at")


class InProject(serializers.CharField):
    """An object of the token's project by its key. An unknown key and a foreign one are refused alike.

    rows  what may be named, of a project
    """

    def __init__(self, rows: Callable[[Project], QuerySet[Any]], **kwargs: Any) -> None:
        super().__init__(**{"max_length": 12, **kwargs})
        self.rows = rows

    def run_validation(self, data: Any = empty) -> Any:
        key = super().run_validation(data)
        rows = self.rows(self.context["project"])
        found = rows.filter(key=key).first()
        if found is None:
            raise serializers.ValidationError(f"There is no such {rows.model._meta.verbose_name} in this project.")
        return found


def key_of(**kwargs: Any) -> Any:
    """A related object, told by its key."""
    return serializers.SlugRelatedField(slug_field=kwargs.pop("slug_field", "key"), read_only=True, **kwargs)


@dataclass(frozen=True)
class Call:
    """One method of a resource.

    scopes  the token carries one of these, and its owner may do it now
    asks    the body; ``query`` the address's parameters: nothing else of either is read
    tells   one object, with an ETag; ``lists``: a page of them; neither: an answer of its own kind, or none (204)
    once    an Idempotency-Key makes a request that is sent again the same request; of an upload (``once_by_key``) its service does so
    """

    scopes: tuple[Scope, ...]
    asks: Serializer | None = None
    query: Serializer | None = None
    tells: Serializer | None = None
    lists: Serializer | None = None
    status: int = 200
    once: bool = False
    once_by_key: bool = False
    media_types: tuple[str, ...] = ()  # of a file


def call(*scopes: Scope, **declared: Any) -> Callable[[M], M]:
    """Make ``get(self, given, key)`` of a resource from a method that gets checked input; see ``Call``."""
    operation = Call(scopes, **declared)

    def decorate(method: M) -> M:
        @wraps(method)
        def handle(self: "ProjectApi", request: Request, project: str = "", **keys: Any) -> HttpResponseBase:
            given = self.read(operation)
            if not operation.once:
                return self.answer(operation, method(self, given, **keys))
            return once(
                request,
                self.project,
                self.by,
                lambda: cast(Response, self.answer(operation, method(self, given, **keys))),
            )

        handle.operation = operation  # type: ignore[attr-defined]  # read by the schema and the permission sweep
        return cast(M, handle)

    return decorate


def operation_of(view: Any, method: str) -> Call | None:
    """What a view declares for an HTTP method; HEAD is GET."""
    handler = getattr(view, "get" if method.lower() == "head" else method.lower(), None)
    return getattr(handler, "operation", None)


class TokenThrottle(BaseThrottle):
    """So many requests a minute of the clock for each token: of all web processes where their cache is shared (Redis), else of each."""

    def allow_request(self, request: Request, view: Any) -> bool:
        most = settings.WHETSTONE.api_requests_per_minute
        if not most or not isinstance(request.auth, ApiToken):
            return True
        minute, self.seconds = divmod(time.time(), 60)
        key = f"api-{request.auth.key}-{minute:.0f}"
        try:
            cache.add(key, 0, timeout=120)
            return cache.incr(key) <= most
        except ValueError:  # the cache had no room for it
            return True
        except RedisError as problem:  # a bound that cannot be counted stops nobody
            logger.warning("Requests are not counted: the cache does not answer (%s).", problem)
            return True

    def wait(self) -> float:
        return 60 - self.seconds


class ProjectApi(APIView):
    """Token only: a browser's session has its pages. The project is the token's, and named in the address."""

    authentication_classes: list[type[BaseAuthentication]] = [TokenAuthentication]
    throttle_classes: list[type[BaseThrottle]] = [TokenThrottle]
    metadata_class = None

    def get_permissions(self) -> list[BasePermission]:
        operation = operation_of(self, self.request.method or "")
        return [HasScope(*(operation.scopes if operation else Scope))()]

    @property
    def project(self) -> Project:
        project: Project = self.request._request.project  # type: ignore[attr-defined]
        return project

    @property
    def membership(self) -> Membership:
        return membership_in(self.request._request)

    @property
    def by(self) -> User:
        """Whose token this is."""
        assert isinstance(self.request.user, User)
        return self.request.user

    @property
    def context(self) -> dict[str, Any]:
        return {"request": self.request, "project": self.project, "membership": self.membership}

    # ---- in and out ----

    def read(self, operation: Call) -> Given:
        """What was sent, checked: the body, or the address's parameters; a list's page is beside them."""
        in_address = [
            form for form in (operation.query, PageSerializer if operation.lists else None) if form is not None
        ]
        known = {name for form in in_address for name in form().fields}  # type: ignore[attr-defined]
        refuse_unknown(self.request.query_params, known)
        given: dict[str, Any] = {}
        for form in in_address:
            given |= self._checked(form, self.request.query_params)
        if operation.asks is not None:
            given |= self._checked(operation.asks, self.request.data)
        return given

    def _checked(self, form: Serializer, data: Any) -> dict[str, Any]:
        filled = form(data=data, context=self.context)
        filled.is_valid(raise_exception=True)
        return dict(filled.validated_data)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        patch_vary_headers(response, ["Authorization"])
        return response

    def answer(self, operation: Call, result: Any) -> HttpResponseBase:
        if isinstance(result, HttpResponseBase):
            return result
        if operation.lists is not None:
            return self.page(operation.lists, result)
        if operation.tells is None:
            return Response(status=204)
        return tagged(self.request, self.tell(operation.tells, result), status=operation.status)

    def tell(self, form: Serializer, value: Any) -> Any:
        return form(value, context=self.context).data

    def page(
        self,
        form: Serializer,
        rows: QuerySet[Any],
        *,
        by: str = "key",
        is_newest_first: bool = True,
        shown: Callable[[list[Any]], list[Any]] = list,
    ) -> Response:
        """A page of ``rows``; see ``core.api.page_of``. ``shown`` turns the rows of one page into what ``form`` tells."""
        given = self._checked(PageSerializer, self.request.query_params)

        def tell(found: list[Any]) -> list[Any]:
            return list(form(shown(found), many=True, context=self.context).data)

        return page_of(self.request, rows, given, tell, by=by, is_newest_first=is_newest_first)

    # ---- objects ----

    def found(self, rows: QuerySet[Any], **by: Any) -> Any:
        """The one row; 404 for an unknown one and a foreign one alike."""
        row = rows.filter(**by).first()
        if row is None:
            raise NotFound(f"There is no such {rows.model._meta.verbose_name} in this project.")
        return row

    def fresh(self, row: Row) -> Row:
        """The row as it is after a service has changed it in the database."""
        row.refresh_from_db()
        return row

    def check_unchanged(self, form: Serializer, value: Any) -> None:
        """412 where If-Match names another state than the one that stands."""
        check_unchanged(self.request, self.tell(form, value))

    def key_of_request(self) -> str:
        """The key of what a request with an Idempotency-Key makes, however often it is sent; for services that take one."""
        return key_for(self.request, self.project, person(self.request._request))
