from django.urls import path

from loop import views

app_name = "loop"

urlpatterns = [
    path("", views.project_home, name="project"),
    path("rounds/", views.rounds, name="rounds"),
    path("rounds/new/", views.new_round, name="new_round"),
    path("rounds/<int:number>/", views.round_page, name="round"),
    path("rounds/<int:number>/reveal/", views.reveal_models, name="reveal"),
    path("rounds/<int:number>/abandon/", views.abandon, name="abandon"),
    path("rounds/<int:number>/<slug:stage>/", views.step, name="step"),
]
