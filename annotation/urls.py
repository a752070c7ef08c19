from django.urls import path

from annotation import (
    campaign_views,
    desk_urls,
    live_views,
    onboarding_lead_views,
    onboarding_views,
    views,
)

app_name = "annotation"

urlpatterns = [
    *desk_urls.urlpatterns,
    path("annotate/campaign/<slug:key>/", views.start, name="start"),
    path("annotate/live/<slug:key>/", live_views.begin, name="live"),
    path("annotate/live/<slug:key>/<slug:talk>/", live_views.conversation, name="conversation"),
    path("annotate/live/<slug:key>/<slug:talk>/pick/", live_views.pick, name="live-pick"),
    path("annotate/live/<slug:key>/<slug:talk>/<slug:action>/", live_views.act, name="live-act"),
    path("annotate/campaign/<slug:key>/guidelines/", views.guidelines, name="guidelines"),
    path("annotate/campaign/<slug:key>/mine/", views.mine, name="mine"),
    path("annotate/campaign/<slug:key>/agree/", views.agree, name="agree"),
    path("annotate/announcement/<slug:key>/read/", views.read_announcement, name="read-announcement"),
    path("annotate/campaign/<slug:key>/way-in/", onboarding_views.way_in, name="way-in"),
    path("annotate/campaign/<slug:key>/practise-again/", onboarding_views.practise_again, name="practise-again"),
    path("annotate/campaign/<slug:key>/practice/<slug:item>/", onboarding_views.practice_item, name="practice-item"),
    path("annotate/<slug:key>/", views.assignment, name="assignment"),
    path("annotate/<slug:key>/skip/", views.skip, name="skip"),
    path("annotate/<slug:key>/ask/", views.ask, name="ask"),
    path("annotate/<slug:key>/resume/", views.resume, name="resume"),
    path("annotate/<slug:key>/undo/", views.undo, name="undo"),
    path("campaigns/", campaign_views.campaigns, name="campaigns"),
    path("campaigns/new/", campaign_views.new_campaign, name="new-campaign"),
    path("campaigns/new/live/", live_views.new_live_campaign, name="new-live-campaign"),
    path("campaigns/<slug:key>/", campaign_views.campaign, name="campaign"),
    path("campaigns/<slug:key>/judgements/", campaign_views.judgements, name="judgements"),
    path("campaigns/<slug:key>/judgements/<slug:judgement>/void/", campaign_views.void, name="void"),
    path("campaigns/<slug:key>/people/", onboarding_lead_views.people, name="people"),
    path(
        "campaigns/<slug:key>/people/<str:who>/<slug:action>/",
        onboarding_lead_views.decide_person,
        name="decide-person",
    ),
    path("campaigns/<slug:key>/practice/", onboarding_lead_views.items, name="practice-items"),
    path("campaigns/<slug:key>/practice/new/", onboarding_lead_views.new_item, name="new-practice-item"),
    path("campaigns/<slug:key>/practice/<slug:item>/", onboarding_lead_views.edit_item, name="edit-practice-item"),
    path(
        "campaigns/<slug:key>/practice/<slug:item>/<slug:action>/",
        onboarding_lead_views.switch_item,
        name="switch-practice-item",
    ),
    path("campaigns/<slug:key>/reveal/", campaign_views.reveal, name="reveal"),
    path("campaigns/<slug:key>/<slug:action>/", campaign_views.act, name="act"),
]
