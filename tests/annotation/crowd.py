"""Many people at work in processes that are killed (SIGKILL) and begin again: ``python -m tests.annotation.crowd``.

Each process is several people in threads, as a web server is. What a service has answered is written down by whoever was
answered (one line, one write), so that afterwards nothing that was acknowledged may be missing.
"""

import argparse
import contextlib
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import django

LINE = 32  # characters of an acknowledgement, about


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--campaign", type=int, required=True)
    parser.add_argument("--acknowledged", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--kill-every", type=int, default=40, help="judgements, all together")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    django.setup()

    from annotation.models import Annotator, Campaign

    campaign = Campaign.objects.get(pk=options.campaign)
    people = list(Annotator.objects.filter(project=campaign.project_id).order_by("pk").values_list("pk", flat=True))
    close()
    groups = [people[number :: options.processes] for number in range(options.processes)]
    dice, n_kills, started = random.Random(options.seed), 0, 0
    running: dict[int, int] = {}  # process id -> group
    waiting = list(range(options.processes))
    end = time.monotonic() + options.seconds
    options.acknowledged.touch()
    next_kill = options.kill_every
    while (running or waiting) and time.monotonic() < end:
        for group in waiting:
            started += 1
            running[fork(campaign.pk, groups[group], options.acknowledged, seed=options.seed + started)] = group
        waiting = []
        time.sleep(0.02)
        if running and options.acknowledged.stat().st_size // LINE >= next_kill:
            os.kill(dice.choice(list(running)), signal.SIGKILL)
            next_kill += int(dice.uniform(0.5, 1.5) * options.kill_every)
        while running:
            process, status = os.waitpid(-1, os.WNOHANG)
            if process == 0:
                break
            group = running.pop(process)
            if os.WIFSIGNALED(status):
                n_kills += 1
                waiting.append(group)
            elif os.WEXITSTATUS(status):
                sys.exit(f"A process failed with {os.WEXITSTATUS(status)}.")
    for process in running:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    print(f"kills {n_kills} unfinished {len(running)}")


def close() -> None:
    from django.db import connections

    connections.close_all()


def fork(campaign: int, people: list[int], acknowledged: Path, *, seed: int) -> int:
    process = os.fork()
    if process:
        return process
    try:
        threads = [
            threading.Thread(target=work_safely, args=(campaign, person, acknowledged, seed * 1000 + person))
            for person in people
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:
        os._exit(1)
    os._exit(0)


def work_safely(campaign: int, person: int, acknowledged: Path, seed: int) -> None:
    try:
        work(campaign, person, acknowledged, random.Random(seed))
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(3)
    finally:
        close()


def work(campaign_id: int, person: int, acknowledged: Path, moods: random.Random) -> None:
    from annotation.assign import next_assignment, skip_assignment, why_nothing
    from annotation.expiry import expire_leases
    from annotation.judge import correct_judgement, submit_judgement, undo_judgement
    from annotation.leases import open_task, prefetch_assignment, release_waiting, renew_lease
    from annotation.models import Annotator, Assignment, Campaign
    from annotation.parking import park_assignment, resume_assignment
    from annotation.protocol import Said
    from core.errors import Conflict
    from core.jobs import from_now

    me = Annotator.objects.get(pk=person)
    campaign = Campaign.objects.get(pk=campaign_id)
    log = os.open(acknowledged, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    parked = [turn.key for turn in Assignment.objects.filter(annotator=me, task__campaign=campaign, status="parked")]
    while True:
        turn = next_assignment(me, campaign)
        if turn is None:
            for key in parked:
                resume_assignment(assignment_key=key, annotator=me)
            if parked:
                parked = []
                continue
            reason = why_nothing(me, campaign)
            if reason is not None and reason.code == "done":
                break
            expire_leases()
            time.sleep(0.05)
            continue
        said = Said("ranked", moods.choice([(1, 2), (2, 1)]), comment=f"{moods.random()}")
        given = {"assignment_key": turn.key, "annotator": me}
        mood = moods.random()
        if mood < 0.02:
            skip_assignment(**given, reason="x")
            continue
        if mood < 0.05 and not parked:
            park_assignment(**given)
            parked.append(turn.key)
            continue
        if mood < 0.30:
            ahead = prefetch_assignment(me, campaign)
            if ahead is not None and moods.random() < 0.2:
                open_task(assignment_key=ahead.key, annotator=me)
            if moods.random() < 0.2:
                release_waiting(annotator=me, campaign=campaign)
        if mood > 0.97:  # walks away and comes back late
            Assignment.objects.filter(pk=turn.pk, status="open").update(leased_until=from_now(-1))
            expire_leases()
        with contextlib.suppress(Conflict):
            if 0.90 < mood < 0.95:
                renew_lease(**given)
            judgement = submit_judgement(**given, said=said)
            os.write(log, f"{judgement.key} {said.comment}\n".encode())
            if moods.random() < 0.1:  # the answer was lost: sent again
                again = submit_judgement(**given, said=said)
                assert again.pk == judgement.pk
            if moods.random() < 0.04:
                other = Said("tie", comment=f"{moods.random()}")
                corrected = correct_judgement(**given, said=other)
                os.write(log, f"{corrected.key} {other.comment}\n".encode())
            if moods.random() < 0.03:
                undo_judgement(**given)
    os.close(log)


if __name__ == "__main__":
    main()
