"""Addresses of this app's API, below ``/api/v1/``."""

from django.urls import path

from generation import deploy_api
from generation.api import jobs, models, prompts

app_name = "generation-api"

PROJECT = "projects/<slug:project>"
SET, IMPORT, JOB = f"{PROJECT}/prompt-sets", f"{PROJECT}/prompt-imports", f"{PROJECT}/generation-jobs"
DEPLOYMENT = f"{PROJECT}/deployments"

urlpatterns = [
    path(SET, prompts.PromptSets.as_view(), name="prompt-sets"),
    path(f"{SET}/<slug:key>", prompts.OnePromptSet.as_view(), name="prompt-set"),
    path(f"{SET}/<slug:key>/prompts", prompts.Prompts.as_view(), name="prompts"),
    path(f"{SET}/<slug:key>/prompts/<slug:prompt>", prompts.OnePrompt.as_view(), name="prompt"),
    path(IMPORT, prompts.PromptImports.as_view(), name="prompt-imports"),
    path(f"{IMPORT}/<slug:key>", prompts.OnePromptImport.as_view(), name="prompt-import"),
    path(f"{IMPORT}/<slug:key>/cancel", prompts.CancelPromptImport.as_view(), name="prompt-import-cancel"),
    path(f"{IMPORT}/<slug:key>/retry", prompts.RetryPromptImport.as_view(), name="prompt-import-retry"),
    path(f"{IMPORT}/<slug:key>/report", prompts.PromptImportReport.as_view(), name="prompt-import-report"),
    path(JOB, jobs.GenerationJobs.as_view(), name="generation-jobs"),
    path(f"{JOB}/<slug:key>", jobs.OneGenerationJob.as_view(), name="generation-job"),
    path(f"{JOB}/<slug:key>/cancel", jobs.CancelGenerationJob.as_view(), name="generation-job-cancel"),
    path(f"{JOB}/<slug:key>/continue", jobs.ContinueGenerationJob.as_view(), name="generation-job-continue"),
    path(f"{JOB}/<slug:key>/reveal", jobs.RevealGenerationJob.as_view(), name="generation-job-reveal"),
    path(f"{JOB}/<slug:key>/answers", jobs.Answers.as_view(), name="answers"),
    path(f"{PROJECT}/models", models.Models.as_view(), name="models"),
    path(f"{PROJECT}/models/<slug:key>", models.OneModel.as_view(), name="model"),
    path(f"{PROJECT}/model-fetches/<slug:key>", models.OneModelFetch.as_view(), name="model-fetch"),
    path(f"{PROJECT}/endpoints", models.Endpoints.as_view(), name="endpoints"),
    path(DEPLOYMENT, models.Deployments.as_view(), name="deployments"),
    path(f"{DEPLOYMENT}/roll-back", models.RollBack.as_view(), name="deployment-roll-back"),
    path(f"{DEPLOYMENT}/<slug:key>", models.OneDeployment.as_view(), name="deployment"),
    path(f"{DEPLOYMENT}/<slug:key>/cancel", models.CancelDeployment.as_view(), name="deployment-cancel"),
    path(f"{DEPLOYMENT}/<slug:key>/retry", models.RetryDeployment.as_view(), name="deployment-retry"),
    path(f"{DEPLOYMENT}/<slug:key>/retire", models.RetireDeployment.as_view(), name="deployment-retire"),
    # For the worker beside a far vLLM. ``-`` for the endpoint means: the one that waits for a worker, where there is only one.
    path("deploy/endpoints/<slug:endpoint>/wanted", deploy_api.Wanted.as_view(), name="deploy-wanted"),
    path("deploy/endpoints/<slug:endpoint>/state", deploy_api.State.as_view(), name="deploy-state"),
    path("deploy/endpoints/<slug:endpoint>/claim", deploy_api.Claim.as_view(), name="deploy-claim"),
    path("deploy/deployments/<slug:deployment>/beat", deploy_api.Beat.as_view(), name="deploy-beat"),
    path("deploy/deployments/<slug:deployment>/loaded", deploy_api.Loaded.as_view(), name="deploy-loaded"),
    path("deploy/deployments/<slug:deployment>/failed", deploy_api.Failed.as_view(), name="deploy-failed"),
    path("deploy/artifacts/<slug:sha256>/<path:name>", deploy_api.ArtifactFile.as_view(), name="deploy-file"),
]
