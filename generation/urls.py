"""Addresses of this app below a project: prompts, generation jobs, models; deployments have a module of their own."""

from importlib.util import find_spec

from django.urls import URLPattern, URLResolver, include, path

from generation import job_views, model_views, prompt_views

app_name = "generation"

urlpatterns: list[URLPattern | URLResolver] = [
    path("prompts/", prompt_views.prompt_sets, name="prompt-sets"),
    path("prompts/import/", prompt_views.import_prompts, name="prompt-import"),
    path("prompts/imports/<slug:key>/", prompt_views.prompt_import, name="import"),
    path("prompts/imports/<slug:key>/cancel/", prompt_views.cancel_import, name="import-cancel"),
    path("prompts/imports/<slug:key>/again/", prompt_views.retry_import, name="import-retry"),
    path("prompts/imports/<slug:key>/report.csv", prompt_views.import_report, name="import-report"),
    path("prompts/<slug:key>/", prompt_views.prompt_set, name="prompt-set"),
    path("prompts/<slug:key>/import/", prompt_views.import_prompts, name="prompt-set-import"),
    path("prompts/<slug:key>/delete/", prompt_views.delete_set, name="prompt-set-delete"),
    path("prompts/<slug:key>/<slug:prompt_key>/", prompt_views.prompt, name="prompt"),
    path("generate/", job_views.jobs, name="jobs"),
    path("generate/new/", job_views.new_job, name="job-new"),
    path("generate/<slug:key>/", job_views.job, name="job"),
    path("generate/<slug:key>/answers/", job_views.answers, name="answers"),
    path("generate/<slug:key>/reveal/", job_views.reveal, name="job-reveal"),
    path("generate/<slug:key>/cancel/", job_views.cancel, name="job-cancel"),
    path("generate/<slug:key>/go-on/", job_views.go_on, name="job-go-on"),
    path("models/", model_views.models, name="models"),
    path("models/new/", model_views.register_model, name="model-new"),
    path("models/fetches/<slug:key>/", model_views.model_fetch, name="model-fetch"),
    path("models/<slug:key>/", model_views.model, name="model"),
]

if find_spec("generation.deployment_urls"):
    urlpatterns.append(path("", include("generation.deployment_urls")))
