from django.urls import path

from accounts import project_views as views

app_name = "project"

urlpatterns = [
    path("members/", views.member_list, name="members"),
    path("members/<str:key>/", views.member_roles, name="member"),
    path("members/<str:key>/remove/", views.member_remove, name="member_remove"),
    path("invitations/<str:key>/revoke/", views.invitation_revoke, name="invitation_revoke"),
    path("tokens/", views.token_list, name="tokens"),
    path("tokens/<str:key>/revoke/", views.token_revoke, name="token_revoke"),
    path("audit/", views.audit, name="audit"),
    path("settings/", views.settings, name="settings"),
]
