"""Addresses of this app's API, below ``/api/v1/``."""

from django.urls import path

from training.api import erasing, history, lineage, runs, snapshots
from training.lineage_views import HELD

app_name = "training-api"

PROJECT = "projects/<slug:project>"
SNAPSHOT, RUN, EVALUATION = f"{PROJECT}/datasets", f"{PROJECT}/runs", f"{PROJECT}/evaluations"

urlpatterns = [
    path(SNAPSHOT, snapshots.Snapshots.as_view(), name="snapshots"),
    path(f"{SNAPSHOT}/preview", snapshots.SnapshotPreview.as_view(), name="snapshot-preview"),
    path(f"{SNAPSHOT}/<slug:key>", snapshots.OneSnapshot.as_view(), name="snapshot"),
    path(f"{SNAPSHOT}/<slug:key>/cancel", snapshots.CancelSnapshot.as_view(), name="snapshot-cancel"),
    path(f"{SNAPSHOT}/<slug:key>/retry", snapshots.RetrySnapshot.as_view(), name="snapshot-retry"),
    path(f"{SNAPSHOT}/<slug:key>/check", snapshots.CheckSnapshot.as_view(), name="snapshot-check"),
    path(f"{SNAPSHOT}/<slug:key>/since", history.Since.as_view(), name="snapshot-since"),
    path(f"{SNAPSHOT}/<slug:key>/anew", history.Anew.as_view(), name="snapshot-anew"),
    path(f"{SNAPSHOT}/<slug:key>/compare", history.Compare.as_view(), name="snapshot-compare"),
    path(f"{SNAPSHOT}/<slug:key>/waive", erasing.WaiveErasure.as_view(), name="snapshot-waive"),
    path(f"{SNAPSHOT}/<slug:key>/rows", snapshots.Rows.as_view(), name="snapshot-rows"),
    path(f"{SNAPSHOT}/<slug:key>/rows/<slug:row>/lineage", snapshots.RowLineage.as_view(), name="row-lineage"),
    path(RUN, runs.Runs.as_view(), name="runs"),
    path(f"{RUN}/plan", runs.RunPlan.as_view(), name="run-plan"),
    path(f"{RUN}/<slug:key>", runs.OneRun.as_view(), name="run"),
    path(f"{RUN}/<slug:key>/cancel", runs.CancelRun.as_view(), name="run-cancel"),
    path(f"{RUN}/<slug:key>/continue", runs.ContinueRun.as_view(), name="run-continue"),
    path(f"{RUN}/<slug:key>/metrics", runs.Metrics.as_view(), name="run-metrics"),
    path(EVALUATION, runs.Evaluations.as_view(), name="evaluations"),
    path(f"{EVALUATION}/<slug:key>", runs.OneEvaluation.as_view(), name="evaluation"),
    path(f"{EVALUATION}/<slug:key>/cancel", runs.CancelEvaluation.as_view(), name="evaluation-cancel"),
    path(f"{EVALUATION}/<slug:key>/retry", runs.RetryEvaluation.as_view(), name="evaluation-retry"),
    path(f"{PROJECT}/models/<slug:key>/lineage", lineage.ModelLineage.as_view(), name="model-lineage"),
    path(f"{PROJECT}/models/<slug:key>/judgements", lineage.ModelJudgements.as_view(), name="model-judgements"),
    path(f"{PROJECT}/judgements/<slug:key>/erase", erasing.EraseText.as_view(), name="erase"),
    path(f"{PROJECT}/erasures", erasing.Erasures.as_view(), name="erasures"),
    path(f"{PROJECT}/erasures/<slug:key>", erasing.OneErasure.as_view(), name="erasure"),
    path(f"{PROJECT}/erasures/<slug:key>/retry", erasing.RetryErasure.as_view(), name="erasure-retry"),
    *(
        path(f"{PROJECT}/lineage/{what}/<slug:key>", lineage.Holdings.as_view(what=what), name=f"holdings-{what}")
        for what in HELD
    ),
    path(f"{PROJECT}/judgements/<slug:key>/lineage", lineage.JudgementLineage.as_view(), name="judgement-lineage"),
]
