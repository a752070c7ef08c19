"""Celery tasks of this app. Each takes an id, calls one service, may arrive any number of times: the row decides."""

from celery import shared_task


@shared_task(name="generation.tasks.run_prompt_import", ignore_result=True)
def run_prompt_import(import_id: int) -> None:
    from generation.prompt_importing import run_import

    run_import(import_id)


@shared_task(name="generation.tasks.run_generation", ignore_result=True)
def run_generation(job_id: int) -> None:
    from generation.sampling_run import run_generation as run

    run(job_id)


@shared_task(name="generation.tasks.run_model_fetch", ignore_result=True)
def run_model_fetch(fetch_id: int) -> None:
    from generation.registry import run_fetch

    run_fetch(fetch_id)


@shared_task(name="generation.tasks.run_deployment", ignore_result=True)
def run_deployment(deployment_id: int) -> None:
    from generation.deploy import run_deployment_job

    run_deployment_job(deployment_id)
