"""The tick: what heals and moves on by itself, every few seconds, on any number of schedulers at once."""

import logging
from collections.abc import Callable

from celery import shared_task

from annotation.campaigns import close_due
from annotation.expiry import expire_leases
from annotation.live_turns import settle_turns
from annotation.questions import withdraw_orphans
from core.jobs import reap
from generation.deploy import tend_deployments
from loop.rounds import advance_rounds
from training.exports.job import remove_old_exports
from training.scratch import remove_scratch

logger = logging.getLogger(__name__)

CHORES: tuple[Callable[[], object], ...] = (
    reap,
    expire_leases,
    withdraw_orphans,
    close_due,
    settle_turns,
    tend_deployments,
    advance_rounds,
    remove_old_exports,
    remove_scratch,
)


@shared_task(name="loop.tasks.tick", ignore_result=True)
def tick() -> None:
    """Each chore is safe to repeat; one that fails must not keep the others from being done."""
    for chore in CHORES:
        try:
            chore()
        except Exception:
            logger.exception("The chore %s failed; it is tried again at the next tick.", chore.__name__)
