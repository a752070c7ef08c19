"""Idempotency-Key: a request that is sent again, after a lost answer, is answered as it was the first time.

The answer is kept in the transaction of what the request did, so neither exists without the other. Uploads are too large for
that transaction: their services take a key of their own (``key_for``).
"""

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import IdempotentRequest, Project, User
from core.bulk import keys_from
from core.errors import DomainError, require
from core.ids import KEY_LENGTH, canonical_json, sha256_hex

KEPT = timedelta(days=2)
MAX_KEY = 200
HEADER = "Idempotency-Key"


def given_key(request: Request) -> str:
    given = request.headers.get(HEADER, "")
    require(len(given) <= MAX_KEY, f"An Idempotency-Key has at most {MAX_KEY} characters.")
    return given


def key_for(request: Request, project: Project, user: User) -> str:
    """A row's key made of the request's; "" without one."""
    if not (given := given_key(request)):
        return ""
    seed = f"{project.pk}:{user.pk}:{given}"
    return keys_from(hashlib.sha256(seed.encode()).digest()[:KEY_LENGTH])[0]


def once(request: Request, project: Project, user: User, do: Callable[[], Response]) -> Response:
    """Answer with ``do()``, or with what it answered before. Raises DomainError where the key belongs to another request."""
    if not (given := given_key(request)):
        return do()
    kept = IdempotentRequest.objects.filter(project=project, user=user)
    kept.filter(created_at__lt=timezone.now() - KEPT).delete()
    key, asked = sha256_hex(given), sha256_hex(canonical_json([request.method, request.path, request.data]))
    row = kept.filter(key_sha256=key).first()
    if row is None:
        with transaction.atomic():
            try:
                with transaction.atomic():  # of two at once, the second waits here for the first
                    row = kept.create(project=project, user=user, key_sha256=key, request_sha256=asked)
            except IntegrityError:
                row = None
            if row is not None:
                response = do()
                row.answer, row.status_code = json.loads(JSONRenderer().render(response.data)), response.status_code
                row.save(update_fields=["answer", "status_code"])
                return response
        row = kept.get(key_sha256=key)
    if row.request_sha256 != asked:
        raise DomainError(
            "This Idempotency-Key has been used for another request.", how="Send a new key with a new request."
        )
    return Response(row.answer, status=row.status_code, headers={"Idempotent-Replayed": "true"})
