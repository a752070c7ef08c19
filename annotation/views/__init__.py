"""The annotate screen. Opening a page changes nothing; buttons do."""

from annotation.views.beside import agree, ask, guidelines, read_announcement, resume
from annotation.views.mine import mine
from annotation.views.start import start
from annotation.views.task import assignment, skip, undo

__all__ = [
    "agree", "ask", "assignment", "guidelines", "mine", "read_announcement", "resume", "skip",
    "start", "undo",
]  # fmt: skip
