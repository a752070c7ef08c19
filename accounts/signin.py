"""Signing in with a password: failures are counted in the audit log, too many of them close the door for a while.

The window slides and attempts at a closed door are not counted, so nobody is ever locked out for good.
"""

from datetime import timedelta

from django.conf import settings
from django.contrib.auth import authenticate
from django.http import HttpRequest
from django.utils import timezone

from accounts.audit import record
from accounts.models import AuditEvent, User
from core.ids import sha256_hex

WINDOW = timedelta(minutes=15)
FAILED = "sign_in.failed"
# (which columns must agree, how many failures close the door). The last two stop a password list spread over many
# addresses or accounts; they are wide, since one of them could shut out a whole office.
MOST_FOR_PAIR, MOST_FOR_ACCOUNT, MOST_FOR_ADDRESS = 8, 60, 60


def client_address(request: HttpRequest) -> str:
    """Where the request came from: what our own proxy says, where there is one, and never what a client claims."""
    if settings.WHETSTONE.behind_proxy:
        hops = [hop.strip() for hop in request.headers.get("X-Forwarded-For", "").split(",") if hop.strip()]
        if hops:
            return hops[-1]
    return str(request.META.get("REMOTE_ADDR", ""))


def is_throttled(*, username: str, address: str) -> bool:
    """Whether too many wrong passwords were given lately for this name from here, for this name, or from here."""
    failures = AuditEvent.objects.filter(action=FAILED, created_at__gt=timezone.now() - WINDOW)
    of_account = failures.filter(detail__account=account_hash(username))
    of_address = failures.filter(detail__address=address)
    return (
        of_account.filter(detail__address=address).count() >= MOST_FOR_PAIR
        or of_account.count() >= MOST_FOR_ACCOUNT
        or of_address.count() >= MOST_FOR_ADDRESS
    )


def account_hash(username: str) -> str:
    """The name as the log keeps it: people type passwords into the wrong field."""
    return sha256_hex(username.strip().casefold())


def check_password(*, request: HttpRequest, username: str, password: str) -> User | None:
    """The person, or None with the failure recorded. Takes as long for a name that does not exist."""
    user = authenticate(request, username=username.strip(), password=password)
    if isinstance(user, User):
        return user
    record(
        FAILED,
        user=None,
        detail={"account": account_hash(username), "address": client_address(request)},
    )
    return None
