"""Who is signed in: two questions that every request asks, as Django asks them, but compiled once."""

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.sessions.backends.db import SessionStore as DatabaseSessionStore
from django.contrib.sessions.models import Session
from django.db.models.functions import Now

from accounts.models import User
from core.prepared import Query, given

_session = Query(lambda: Session.objects.filter(session_key=given("key", str), expire_date__gt=Now()))
_user = Query(lambda: User.objects.filter(pk=given("pk")))


class SessionStore(DatabaseSessionStore):
    """Sessions in the database."""

    def _get_session_from_db(self) -> Session | None:
        found: Session | None = _session.first(key=self.session_key)
        if found is None:
            self._session_key = None  # a cookie that names none gets a key of its own
        return found


class AccountBackend(ModelBackend):
    """Name and password."""

    def get_user(self, user_id: Any) -> User | None:
        user: User | None = _user.first(pk=int(user_id))
        return user if user is not None and self.user_can_authenticate(user) else None
