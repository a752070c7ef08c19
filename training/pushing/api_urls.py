"""Addresses of pushes, below ``/api/v1/``."""

from django.urls import path

from training.pushing import api

app_name = "pushing-api"

PROJECT = "projects/<slug:project>"

urlpatterns = [
    path(f"{PROJECT}/push-destinations", api.Destinations.as_view(), name="destinations"),
    path(f"{PROJECT}/datasets/<slug:key>/pushes", api.Pushes.as_view(), name="pushes"),
    path(f"{PROJECT}/pushes/<slug:key>", api.OnePush.as_view(), name="push"),
    path(f"{PROJECT}/pushes/<slug:key>/cancel", api.CancelPush.as_view(), name="cancel"),
    path(f"{PROJECT}/pushes/<slug:key>/retry", api.RetryPush.as_view(), name="retry"),
]
