from django.urls import path

from accounts import preference_views, views
from accounts.api.reference_view import api_reference

app_name = "accounts"

urlpatterns = [
    path("sign-in/", views.sign_in, name="sign_in"),
    path("sign-in/link/<str:token>/", views.sign_in_link, name="sign_in_link"),
    path("sign-out/", views.sign_out, name="sign_out"),
    path("join/<str:token>/", views.join, name="join"),
    path("account/", views.account, name="account"),
    path("account/preferences/", preference_views.work, name="preferences"),
    path("account/preferences/set/", preference_views.set_some, name="set_preferences"),
    path("account/password/", views.change_password, name="change_password"),
    path("account/set-password/", views.set_password, name="set_password"),
    path("api-reference/", api_reference, name="api_reference"),
    path("theme/", views.theme, name="theme"),
    path("projects/", views.project_list, name="projects"),
    path("projects/new/", views.project_new, name="project_new"),
    path("people/", views.people, name="people"),
    path("people/<str:key>/link/", views.person_link, name="person_link"),
    path("people/<str:key>/active/", views.person_active, name="person_active"),
    path("styleguide/", views.styleguide, name="styleguide"),
]
