"""What must hold at any moment, as queries that return nothing (invariants I2, I3 and the counters)."""

from django.db.models import Count, F, Q

from annotation.models import Assignment, Campaign, ComparisonTask, Judgement, Place

WORK = Assignment.Purpose.WORK
HOLDING = Q(assignments__status__in=["open", "parked", "submitted"], assignments__purpose=WORK)


def violations(campaign: Campaign) -> list[str]:
    """Sentences about everything that is wrong with the seats of a campaign; empty when all is well."""
    tasks = ComparisonTask.objects.filter(campaign=campaign)
    found = []
    counted = tasks.annotate(
        held=Count("assignments", filter=HOLDING),
        judged=Count("assignments", filter=Q(assignments__status="submitted", assignments__purpose=WORK)),
    )
    for task in counted:
        if task.held > task.seats:
            found.append(f"task {task.pk} is held {task.held} times, overlap {task.seats}")
        if task.held != task.n_taken:
            found.append(f"task {task.pk} counts {task.n_taken} seats, {task.held} are held")
        if task.judged != task.n_submitted:
            found.append(f"task {task.pk} counts {task.n_submitted} judgements, has {task.judged}")
        if task.status != "retired" and (task.status == "complete") != (task.judged >= task.seats):
            found.append(f"task {task.pk} is {task.status} with {task.judged} of {task.seats}")
    twice = Assignment.objects.filter(task__campaign=campaign, status__in=["open", "parked", "submitted"], purpose=WORK)
    for row in twice.values("task", "annotator").annotate(n=Count("pk")).filter(n__gt=1):
        found.append(f"task {row['task']} is held {row['n']} times by one person")
    for shared in twice.values("task", "seat").annotate(n=Count("pk")).filter(n__gt=1):
        found.append(f"seat {shared['seat']} of task {shared['task']} is held {shared['n']} times")
    for assignment in twice.filter(status="submitted").exclude(current__verdict__in=["ranked", "tie", "all_bad"]):
        found.append(f"assignment {assignment.pk} is submitted without a judgement that stands")
    live = Judgement.objects.filter(assignment__task__campaign=campaign, assignment__current=F("pk"))
    n_live = live.filter(assignment__status="submitted", assignment__purpose=WORK).count()
    n_counted = sum(Place.objects.filter(campaign=campaign).values_list("n_submitted", flat=True))
    if n_live != n_counted:
        found.append(f"people count {n_counted} judgements, there are {n_live}")
    return found
