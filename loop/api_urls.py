"""Addresses of this app's API, below ``/api/v1/``."""

from django.urls import path

from loop.api import rounds

app_name = "loop-api"

ROUND = "projects/<slug:project>/rounds"

urlpatterns = [
    path(ROUND, rounds.Rounds.as_view(), name="rounds"),
    path(f"{ROUND}/<int:number>", rounds.OneRound.as_view(), name="round"),
    path(f"{ROUND}/<int:number>/steps", rounds.NextStep.as_view(), name="round-steps"),
    path(f"{ROUND}/<int:number>/reveal", rounds.RevealRound.as_view(), name="round-reveal"),
    path(f"{ROUND}/<int:number>/abandon", rounds.AbandonRound.as_view(), name="round-abandon"),
]
