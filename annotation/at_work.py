"""Whether people are judging: what takes long gives way to them (``core.way``)."""

from annotation.models import AssignmentEvent


def newest_event() -> int | None:
    """Another one whenever somebody takes a task or sends a judgement; what is imported has none."""
    return AssignmentEvent.objects.order_by("-pk").values_list("pk", flat=True).first()
