"""Addresses of the site: one line for each app; the apps own what lies below."""

from django.urls import include, path

from core import bundles
from loop import views as loop_views

urlpatterns = [
    path("", loop_views.home, name="home"),
    path("bundle/<slug:digest>/<str:name>", bundles.serve, name="bundle"),
    path("", include("accounts.urls")),
    path("endpoints/", include("generation.endpoint_urls")),
    path(
        "p/<slug:project>/",
        include(
            [
                path("", include("loop.urls")),
                path("", include("generation.urls")),
                path("", include("annotation.urls")),
                path("", include("training.urls")),
                path("", include("accounts.project_urls")),
            ]
        ),
    ),
    path("api/v1/", include("accounts.api_urls")),
    path("api/v1/", include("generation.api_urls")),
    path("api/v1/", include("annotation.api_urls")),
    path("api/v1/", include("training.api_urls")),
    path("api/v1/", include("loop.api_urls")),
    path("api/v1/", include("training.exports.api_urls")),
    path("api/v1/", include("training.pushing.api_urls")),
]

handler400 = "core.problems.bad_request"
handler403 = "core.problems.forbidden"
handler404 = "core.problems.not_found"
handler500 = "core.problems.server_error"
