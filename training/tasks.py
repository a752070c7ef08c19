"""Celery tasks of this app. Each takes an id, calls one service, and may arrive many times: the row decides."""

from celery import shared_task


@shared_task(name="training.tasks.supervise_run", ignore_result=True)
def supervise_run(run_id: int) -> None:
    from training.supervise import supervise_run as supervise

    supervise(run_id)


@shared_task(name="training.tasks.run_freeze", ignore_result=True)
def run_freeze(snapshot_id: int) -> None:
    from training.freezing import run_freeze as freeze

    freeze(snapshot_id)


@shared_task(name="training.tasks.run_erasure", ignore_result=True)
def run_erasure(erasure_id: int) -> None:
    from training.erasing import run_erasure as erase

    erase(erasure_id)


@shared_task(name="training.tasks.run_export", ignore_result=True)
def run_export(export_id: int) -> None:
    from training.exports.job import run_export as export

    export(export_id)


@shared_task(name="training.tasks.run_comparison", ignore_result=True)
def run_comparison(comparison_id: int) -> None:
    from training.comparisons import run_comparison as compare

    compare(comparison_id)


@shared_task(name="training.tasks.run_push", ignore_result=True)
def run_push(push_id: int) -> None:
    from training.pushing.job import run_push as push

    push(push_id)


@shared_task(name="training.tasks.run_evaluation", ignore_result=True)
def run_evaluation(evaluation_id: int) -> None:
    from training.evaluate import run_evaluation as evaluate

    evaluate(evaluation_id)
