"""The annotate screen. Opening a page changes nothing; buttons do."""

from annotation.views.beside import agree, ask, guidelines, read_announcement, resume
from annotation.views.mine import mine
from annotation.views.start import next_task, start
from annotation.views.task import assignment, skip, undo

__all__ = [
    "agree", "ask", "assignment", "guidelines", "mine", "next_task", "read_announcement", "resume", "skip",
    "start", "undo",
]  # fmt: skip
