from django.urls import path

from accounts import member_views
from accounts import project_views as views

app_name = "project"

urlpatterns = [
    path("members/", member_views.member_list, name="members"),
    path("members/<str:key>/", member_views.member, name="member"),
    path("members/<str:key>/remove/", member_views.member_remove, name="member_remove"),
    path("invitations/many/", member_views.invite_many, name="invite_many"),
    path("invitations/<str:key>/revoke/", member_views.invitation_revoke, name="invitation_revoke"),
    path("tokens/", views.token_list, name="tokens"),
    path("tokens/<str:key>/revoke/", views.token_revoke, name="token_revoke"),
    path("audit/", views.audit, name="audit"),
    path("settings/", views.settings, name="settings"),
]
