"""Counts in words."""


def counted(number: int, one: str, many: str = "") -> str:
    """``1 task``, ``2,000 tasks``; ``many`` where an s at the end is not enough."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
