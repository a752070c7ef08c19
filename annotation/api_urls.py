"""Addresses of this app's API, below ``/api/v1/``."""

from django.urls import path

from annotation.votes import api as votes

app_name = "annotation-api"

urlpatterns = [
    path("projects/<slug:project>/vote-imports", votes.Imports.as_view(), name="vote-imports"),
    path("projects/<slug:project>/vote-imports/<slug:key>", votes.Import.as_view(), name="vote-import"),
    path("projects/<slug:project>/vote-imports/<slug:key>/report", votes.Report.as_view(), name="vote-import-report"),
    path("projects/<slug:project>/vote-imports/<slug:key>/begin", votes.Begin.as_view(), name="vote-import-begin"),
    path("projects/<slug:project>/vote-imports/<slug:key>/cancel", votes.Cancel.as_view(), name="vote-import-cancel"),
    path("projects/<slug:project>/vote-imports/<slug:key>/retry", votes.Retry.as_view(), name="vote-import-retry"),
]
