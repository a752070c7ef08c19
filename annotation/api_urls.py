"""Addresses of this app's API, below ``/api/v1/``."""

from django.urls import path

from annotation.api import campaigns, desk, lead, work
from annotation.votes import api as votes

app_name = "annotation-api"

PROJECT = "projects/<slug:project>"
VOTES, CAMPAIGN, DESK = f"{PROJECT}/vote-imports", f"{PROJECT}/campaigns", f"{PROJECT}/desk"
FLAG, QUESTION, MINE = f"{PROJECT}/flags", f"{PROJECT}/questions", f"{DESK}/assignments/<slug:key>"

urlpatterns = [
    path(VOTES, votes.Imports.as_view(), name="vote-imports"),
    path(f"{VOTES}/<slug:key>", votes.Import.as_view(), name="vote-import"),
    path(f"{VOTES}/<slug:key>/report", votes.Report.as_view(), name="vote-import-report"),
    path(f"{VOTES}/<slug:key>/begin", votes.Begin.as_view(), name="vote-import-begin"),
    path(f"{VOTES}/<slug:key>/cancel", votes.Cancel.as_view(), name="vote-import-cancel"),
    path(f"{VOTES}/<slug:key>/retry", votes.Retry.as_view(), name="vote-import-retry"),
    path(CAMPAIGN, campaigns.Campaigns.as_view(), name="campaigns"),
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
    path(f"{DESK}/questions", desk.MyQuestions.as_view(), name="my-questions"),
    path(MINE, desk.OneAssignment.as_view(), name="assignment"),
    path(f"{MINE}/judge", desk.Judge.as_view(), name="judge"),
    path(f"{MINE}/correct", desk.Correct.as_view(), name="correct"),
    path(f"{MINE}/undo", desk.Undo.as_view(), name="undo"),
    path(f"{MINE}/skip", desk.Skip.as_view(), name="skip"),
    path(f"{MINE}/ask", desk.Ask.as_view(), name="ask"),
    path(f"{MINE}/resume", desk.Resume.as_view(), name="resume"),
    path(FLAG, lead.Flags.as_view(), name="flags"),
    path(f"{FLAG}/<slug:key>", lead.OneFlag.as_view(), name="flag"),
    path(f"{FLAG}/<slug:key>/decide", lead.DecideFlag.as_view(), name="flag-decide"),
    path(QUESTION, lead.Questions.as_view(), name="questions"),
    path(f"{QUESTION}/<slug:key>", lead.OneQuestion.as_view(), name="question"),
    path(f"{QUESTION}/<slug:key>/answer", lead.AnswerQuestion.as_view(), name="question-answer"),
    path(f"{QUESTION}/<slug:key>/reopen", lead.ReopenQuestion.as_view(), name="question-reopen"),
    path(f"{QUESTION}/<slug:key>/rule", lead.RuleQuestion.as_view(), name="question-rule"),
]
