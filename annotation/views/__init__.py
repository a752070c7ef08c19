"""The annotate screen. Opening a page changes nothing; buttons do."""

from annotation.views.beside import agree, ask, guidelines, read_announcement, resume
from annotation.views.keep import ahead, draft, leave, renew
from annotation.views.mine import mine
from annotation.views.start import start
from annotation.views.task import assignment, correct, skip, undo

__all__ = [
    "agree", "ahead", "ask", "assignment", "correct", "draft", "guidelines", "leave", "mine", "read_announcement", "renew",
    "resume", "skip", "start", "undo",
]  # fmt: skip
