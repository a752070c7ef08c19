"""Addresses of this app's API, below ``/api/v1/``."""

from django.urls import path

from generation import deploy_api

app_name = "generation-api"

# ``-`` for the endpoint means: the one that waits for a worker, where there is only one.
urlpatterns = [
    path("deploy/endpoints/<slug:endpoint>/wanted", deploy_api.Wanted.as_view(), name="deploy-wanted"),
    path("deploy/endpoints/<slug:endpoint>/state", deploy_api.State.as_view(), name="deploy-state"),
    path("deploy/endpoints/<slug:endpoint>/claim", deploy_api.Claim.as_view(), name="deploy-claim"),
    path("deploy/deployments/<slug:deployment>/beat", deploy_api.Beat.as_view(), name="deploy-beat"),
    path("deploy/deployments/<slug:deployment>/loaded", deploy_api.Loaded.as_view(), name="deploy-loaded"),
    path("deploy/deployments/<slug:deployment>/failed", deploy_api.Failed.as_view(), name="deploy-failed"),
    path("deploy/artifacts/<slug:sha256>/<path:name>", deploy_api.ArtifactFile.as_view(), name="deploy-file"),
]
