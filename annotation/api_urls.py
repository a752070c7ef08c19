"""Addresses of this app's API, below ``/api/v1/``."""

from django.urls import path

from annotation.api import announcements, campaigns, desk, lead, live, onboarding, statements, way_in, work
from annotation.votes import api as votes

app_name = "annotation-api"

PROJECT = "projects/<slug:project>"
VOTES, CAMPAIGN, DESK = f"{PROJECT}/vote-imports", f"{PROJECT}/campaigns", f"{PROJECT}/desk"
FLAG, QUESTION, MINE = f"{PROJECT}/flags", f"{PROJECT}/questions", f"{DESK}/assignments/<slug:key>"
ITEM, MINE_IN = f"{CAMPAIGN}/<slug:key>/practice-items", f"{DESK}/campaigns/<slug:key>"
TALK, ANNOUNCEMENT = f"{DESK}/conversations/<slug:key>", f"{PROJECT}/announcements"

urlpatterns = [
    path(VOTES, votes.Imports.as_view(), name="vote-imports"),
    path(f"{VOTES}/<slug:key>", votes.Import.as_view(), name="vote-import"),
    path(f"{VOTES}/<slug:key>/report", votes.Report.as_view(), name="vote-import-report"),
    path(f"{VOTES}/<slug:key>/begin", votes.Begin.as_view(), name="vote-import-begin"),
    path(f"{VOTES}/<slug:key>/cancel", votes.Cancel.as_view(), name="vote-import-cancel"),
    path(f"{VOTES}/<slug:key>/retry", votes.Retry.as_view(), name="vote-import-retry"),
    path(CAMPAIGN, campaigns.Campaigns.as_view(), name="campaigns"),
    path(f"{CAMPAIGN}/live", live.LiveCampaigns.as_view(), name="live-campaigns"),
    path(f"{CAMPAIGN}/plan", campaigns.CampaignPlan.as_view(), name="campaign-plan"),
    path(f"{CAMPAIGN}/<slug:key>", campaigns.OneCampaign.as_view(), name="campaign"),
    path(f"{CAMPAIGN}/<slug:key>/pause", campaigns.PauseCampaign.as_view(), name="campaign-pause"),
    path(f"{CAMPAIGN}/<slug:key>/resume", campaigns.ResumeCampaign.as_view(), name="campaign-resume"),
    path(f"{CAMPAIGN}/<slug:key>/close", campaigns.CloseCampaign.as_view(), name="campaign-close"),
    path(f"{CAMPAIGN}/<slug:key>/reopen", campaigns.ReopenCampaign.as_view(), name="campaign-reopen"),
    path(f"{CAMPAIGN}/<slug:key>/cancel", campaigns.CancelCampaign.as_view(), name="campaign-cancel"),
    path(f"{CAMPAIGN}/<slug:key>/retry", campaigns.RetryCampaign.as_view(), name="campaign-retry"),
    path(f"{CAMPAIGN}/<slug:key>/progress", campaigns.CampaignProgress.as_view(), name="campaign-progress"),
    path(f"{CAMPAIGN}/<slug:key>/standings", campaigns.Standings.as_view(), name="campaign-standings"),
    path(f"{CAMPAIGN}/<slug:key>/reveal", campaigns.RevealCampaign.as_view(), name="campaign-reveal"),
    path(f"{CAMPAIGN}/<slug:key>/rulings", lead.Rulings.as_view(), name="rulings"),
    path(
        f"{CAMPAIGN}/<slug:key>/rulings/<slug:ruling>/withdraw", lead.WithdrawRuling.as_view(), name="ruling-withdraw"
    ),
    path(ITEM, onboarding.PracticeItems.as_view(), name="practice-items"),
    path(f"{ITEM}/<slug:item>", onboarding.OnePracticeItem.as_view(), name="practice-item"),
    path(f"{ITEM}/<slug:item>/retire", onboarding.RetirePracticeItem.as_view(), name="practice-item-retire"),
    path(f"{ITEM}/<slug:item>/restore", onboarding.RestorePracticeItem.as_view(), name="practice-item-restore"),
    path(f"{CAMPAIGN}/<slug:key>/people", onboarding.CampaignPeople.as_view(), name="campaign-people"),
    path(f"{CAMPAIGN}/<slug:key>/people/decide", onboarding.DecidePerson.as_view(), name="campaign-people-decide"),
    path(f"{CAMPAIGN}/<slug:key>/tasks", work.Tasks.as_view(), name="tasks"),
    path(f"{CAMPAIGN}/<slug:key>/tasks/prioritise", work.PrioritiseTasks.as_view(), name="tasks-prioritise"),
    path(f"{CAMPAIGN}/<slug:key>/tasks/retire", work.RetireTasks.as_view(), name="tasks-retire"),
    path(f"{CAMPAIGN}/<slug:key>/tasks/<slug:task>", work.OneTask.as_view(), name="task"),
    path(f"{CAMPAIGN}/<slug:key>/judgements", work.Judgements.as_view(), name="judgements"),
    path(
        f"{CAMPAIGN}/<slug:key>/judgements/<slug:judgement>/void", work.VoidJudgement.as_view(), name="judgement-void"
    ),
    path(f"{DESK}/campaigns", desk.MyCampaigns.as_view(), name="my-campaigns"),
    path(f"{DESK}/campaigns/<slug:key>/next", desk.NextTask.as_view(), name="next"),
    path(f"{MINE_IN}/way-in", way_in.WayIn.as_view(), name="way-in"),
    path(f"{MINE_IN}/way-in/begin", way_in.BeginWayIn.as_view(), name="way-in-begin"),
    path(f"{MINE_IN}/way-in/practise-again", way_in.PractiseAgain.as_view(), name="practise-again"),
    path(f"{MINE_IN}/way-in/<slug:item>/answer", way_in.AnswerPractice.as_view(), name="practice-answer"),
    path(f"{MINE_IN}/agree", way_in.Agree.as_view(), name="agree"),
    path(f"{MINE_IN}/take-back", way_in.TakeBackConsent.as_view(), name="take-back"),
    path(f"{MINE_IN}/conversations", live.Conversations.as_view(), name="conversations"),
    path(TALK, live.OneConversation.as_view(), name="conversation"),
    path(f"{TALK}/prompts", live.WritePrompt.as_view(), name="conversation-prompts"),
    path(f"{TALK}/pick", live.PickAnswer.as_view(), name="conversation-pick"),
    path(f"{TALK}/again", live.WriteAgain.as_view(), name="conversation-again"),
    path(f"{TALK}/retry", live.TryTurnAgain.as_view(), name="conversation-retry"),
    path(f"{TALK}/take-back", live.TakeBackPrompt.as_view(), name="conversation-take-back"),
    path(f"{TALK}/end", live.EndConversation.as_view(), name="conversation-end"),
    path(f"{DESK}/announcements", announcements.MyAnnouncements.as_view(), name="my-announcements"),
    path(
        f"{DESK}/announcements/<slug:key>/confirm",
        announcements.ConfirmAnnouncement.as_view(),
        name="announcement-confirm",
    ),
    path(f"{DESK}/work", statements.MyWork.as_view(), name="my-work"),
    path(f"{DESK}/questions", desk.MyQuestions.as_view(), name="my-questions"),
    path(MINE, desk.OneAssignment.as_view(), name="assignment"),
    path(f"{MINE}/judge", desk.Judge.as_view(), name="judge"),
    path(f"{MINE}/correct", desk.Correct.as_view(), name="correct"),
    path(f"{MINE}/undo", desk.Undo.as_view(), name="undo"),
    path(f"{MINE}/skip", desk.Skip.as_view(), name="skip"),
    path(f"{MINE}/ask", desk.Ask.as_view(), name="ask"),
    path(f"{MINE}/resume", desk.Resume.as_view(), name="resume"),
    path(ANNOUNCEMENT, announcements.Announcements.as_view(), name="announcements"),
    path(f"{ANNOUNCEMENT}/<slug:key>", announcements.OneAnnouncement.as_view(), name="announcement"),
    path(
        f"{ANNOUNCEMENT}/<slug:key>/withdraw",
        announcements.WithdrawAnnouncement.as_view(),
        name="announcement-withdraw",
    ),
    path(f"{PROJECT}/work", statements.Work.as_view(), name="work"),
    path(FLAG, lead.Flags.as_view(), name="flags"),
    path(f"{FLAG}/<slug:key>", lead.OneFlag.as_view(), name="flag"),
    path(f"{FLAG}/<slug:key>/decide", lead.DecideFlag.as_view(), name="flag-decide"),
    path(QUESTION, lead.Questions.as_view(), name="questions"),
    path(f"{QUESTION}/<slug:key>", lead.OneQuestion.as_view(), name="question"),
    path(f"{QUESTION}/<slug:key>/answer", lead.AnswerQuestion.as_view(), name="question-answer"),
    path(f"{QUESTION}/<slug:key>/reopen", lead.ReopenQuestion.as_view(), name="question-reopen"),
    path(f"{QUESTION}/<slug:key>/rule", lead.RuleQuestion.as_view(), name="question-rule"),
]
