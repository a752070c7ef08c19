"""Celery's way in: ids only; the row decides whether there is anything to do."""

from celery import shared_task

from annotation.building import build_tasks
from annotation.models import Campaign


@shared_task(name="annotation.tasks.build_campaign", ignore_result=True)
def build_campaign(campaign_id: int) -> None:
    campaign = Campaign.objects.filter(pk=campaign_id).first()
    if campaign is not None:
        build_tasks(campaign)


@shared_task(name="annotation.tasks.answer_turn", ignore_result=True)
def answer_turn(turn_id: int) -> None:
    from annotation.live_turns import answer_turn as answer
    from generation.sampling_run import run_generation

    answer(turn_id, run_generation)


@shared_task(name="annotation.tasks.run_vote_import", ignore_result=True)
def run_vote_import(import_id: int) -> None:
    from annotation.votes.job import run_import

    run_import(import_id)
