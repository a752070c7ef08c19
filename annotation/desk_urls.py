"""Addresses around judging: home, notes, guidelines and statements of annotators; the desk of those who lead."""

from django.urls import path

from annotation import (
    announcement_views,
    flag_views,
    guidelines_views,
    home_views,
    question_views,
    work_views,
)

urlpatterns = [
    path("annotate/", home_views.home, name="next"),
    path("annotate/work/", home_views.my_work, name="my-work"),
    path("annotate/notes/", home_views.notes, name="notes"),
    path("annotate/questions/<slug:key>/seen/", home_views.answer_seen, name="answer-seen"),
    path("desk/", question_views.inbox, name="desk"),
    path("desk/questions/<slug:key>/", question_views.question, name="question"),
    path("desk/questions/<slug:key>/reopen/", question_views.reopen_question, name="reopen-question"),
    path("desk/questions/<slug:key>/rule/", question_views.rule, name="rule"),
    path("desk/flags/", flag_views.flags, name="flags"),
    path("desk/flags/<slug:key>/", flag_views.flag, name="flag"),
    path("desk/announcements/", announcement_views.announcement_list, name="announcements"),
    path("desk/announcements/<slug:key>/", announcement_views.announcement, name="announcement"),
    path("desk/work/", work_views.work, name="work"),
    path("campaigns/<slug:key>/guidelines/", guidelines_views.campaign_guidelines, name="campaign-guidelines"),
    path("campaigns/<slug:key>/guidelines/<int:number>/", guidelines_views.version, name="guidelines-version"),
    path("campaigns/<slug:key>/rulings/", guidelines_views.ruling_list, name="campaign-rulings"),
    path("campaigns/<slug:key>/rulings/<slug:ruling>/", guidelines_views.ruling, name="ruling"),
]
