"""Addresses of deployments, below a project; part of the namespace ``generation``."""

from django.urls import path

from generation import deployment_views

deployment_urlpatterns = [
    path("deployments/", deployment_views.deployments, name="deployments"),
    path("deployments/roll-back/", deployment_views.roll_back, name="deployment-roll-back"),
    path("deployments/<slug:key>/", deployment_views.deployment, name="deployment"),
    path("deployments/<slug:key>/retry/", deployment_views.retry, name="deployment-retry"),
    path("deployments/<slug:key>/cancel/", deployment_views.cancel, name="deployment-cancel"),
    path("deployments/<slug:key>/retire/", deployment_views.retire, name="deployment-retire"),
]
urlpatterns = deployment_urlpatterns
