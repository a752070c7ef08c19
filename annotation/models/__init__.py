"""Campaigns, tasks, turns, judgements, and what stands around them. What people said is append-only.

The constraints on ``Assignment`` carry the promises: never more than the overlap, never two by one person.
"""

from annotation.models.campaigns import (
    Campaign,
    CampaignEvent,
    ComparisonTask,
    ComparisonTaskEvent,
    GuidelinesVersion,
    PracticeItem,
    TaskCandidate,
)
from annotation.models.conversations import Conversation, ConversationEvent, Turn
from annotation.models.desk import (
    Announcement,
    AnnouncementRead,
    Draft,
    Flag,
    FlagEvent,
    Question,
    QuestionEvent,
    Ruling,
)
from annotation.models.imports import ImportStatus, VoteImport, VoteImportEvent
from annotation.models.judgements import Assignment, AssignmentEvent, Judgement, RankedCandidate, Score
from annotation.models.people import Annotator, Place, PracticeAnswer, Workday

__all__ = [
    "Annotator",
    "Announcement",
    "AnnouncementRead",
    "Assignment",
    "AssignmentEvent",
    "Campaign",
    "CampaignEvent",
    "ComparisonTask",
    "ComparisonTaskEvent",
    "Conversation",
    "ConversationEvent",
    "Draft",
    "Flag",
    "FlagEvent",
    "GuidelinesVersion",
    "ImportStatus",
    "Judgement",
    "Place",
    "PracticeAnswer",
    "PracticeItem",
    "Question",
    "QuestionEvent",
    "RankedCandidate",
    "Ruling",
    "Score",
    "TaskCandidate",
    "Turn",
    "VoteImport",
    "VoteImportEvent",
    "Workday",
]
