"""Addresses of this app's API, below ``/api/v1/``."""

from django.urls import path

from accounts.api import members
from accounts.api.schema_view import SchemaView

app_name = "accounts-api"

PROJECT = "projects/<slug:project>"
urlpatterns = [
    path("schema/", SchemaView.as_view(), name="schema"),
    path(PROJECT, members.ProjectDetail.as_view(), name="project"),
    path(f"{PROJECT}/members", members.Members.as_view(), name="members"),
    path(f"{PROJECT}/members/<slug:key>", members.Member.as_view(), name="member"),
    path(f"{PROJECT}/invitations", members.Invitations.as_view(), name="invitations"),
    path(f"{PROJECT}/invitations/<slug:key>", members.OneInvitation.as_view(), name="invitation"),
    path(f"{PROJECT}/audit-events", members.AuditEvents.as_view(), name="audit-events"),
]
