"""Addresses of endpoints, below ``/endpoints/``: they belong to the site, not to a project."""

from django.urls import path

from generation import endpoint_views

app_name = "endpoints"

urlpatterns = [
    path("", endpoint_views.endpoints, name="endpoints"),
    path("new/", endpoint_views.edit, name="new"),
    path("<slug:key>/", endpoint_views.endpoint, name="endpoint"),
    path("<slug:key>/edit/", endpoint_views.edit, name="edit"),
    path("<slug:key>/test/", endpoint_views.test, name="test"),
]
