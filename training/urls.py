"""Addresses of this app below a project: datasets, runs, evaluations, and the lineage of models and judgements."""

from django.urls import path

from training import dataset_history_views, dataset_views, erasing_views, evaluation_views, lineage_views, run_views
from training.exports import views as export_views
from training.pushing import views as push_views

app_name = "training"

urlpatterns = [
    path("datasets/", dataset_views.datasets, name="snapshots"),
    path("datasets/new/", dataset_views.new_dataset, name="snapshot-new"),
    path("datasets/exports/<slug:key>/", export_views.export, name="export"),
    path("datasets/exports/<slug:key>/cancel/", export_views.cancel, name="export-cancel"),
    path("datasets/exports/<slug:key>/again/", export_views.again, name="export-again"),
    path("datasets/exports/<slug:key>/file/<str:signed>/<str:name>", export_views.export_file, name="export-file"),
    path("datasets/pushes/<slug:key>/", push_views.push, name="push"),
    path("datasets/pushes/<slug:key>/cancel/", push_views.cancel, name="push-cancel"),
    path("datasets/pushes/<slug:key>/again/", push_views.again, name="push-again"),
    path("datasets/<slug:key>/", dataset_views.dataset, name="snapshot"),
    path("datasets/<slug:key>/cancel/", dataset_views.cancel, name="snapshot-cancel"),
    path("datasets/<slug:key>/again/", dataset_views.again, name="snapshot-again"),
    path("datasets/<slug:key>/check/", dataset_views.check, name="snapshot-check"),
    path("datasets/<slug:key>/since/", dataset_history_views.since, name="snapshot-since"),
    path("datasets/<slug:key>/anew/", dataset_history_views.anew, name="snapshot-anew"),
    path("datasets/<slug:key>/compare/", dataset_history_views.compare_with, name="snapshot-compare"),
    path("datasets/<slug:key>/compare/cancel/", dataset_history_views.cancel_compare, name="snapshot-compare-cancel"),
    path("datasets/<slug:key>/waive/", erasing_views.waive_block, name="snapshot-waive"),
    path("erasures/<slug:key>/again/", erasing_views.again, name="erasure-again"),
    path("judgements/<slug:key>/erase/", erasing_views.erase, name="judgement-erase"),
    path("datasets/<slug:key>/files/<str:name>", dataset_views.dataset_file, name="snapshot-file"),
    path("datasets/<slug:key>/rows/<slug:row>/", dataset_views.dataset_row, name="snapshot-row"),
    path("datasets/<slug:key>/export/", export_views.new_export, name="export-new"),
    path("datasets/<slug:key>/push/", push_views.new_push, name="push-new"),
    path("runs/", run_views.runs, name="runs"),
    path("runs/new/", run_views.new_run, name="run-new"),
    path("runs/<slug:key>/", run_views.run, name="run"),
    path("runs/<slug:key>/cancel/", run_views.cancel, name="run-cancel"),
    path("runs/<slug:key>/go-on/", run_views.go_on, name="run-go-on"),
    path("evaluations/", evaluation_views.evaluations, name="evaluations"),
    path("evaluations/new/", evaluation_views.new_evaluation, name="evaluation-new"),
    path("evaluations/<slug:key>/", evaluation_views.evaluation, name="evaluation"),
    path("evaluations/<slug:key>/cancel/", evaluation_views.cancel, name="evaluation-cancel"),
    path("evaluations/<slug:key>/again/", evaluation_views.again, name="evaluation-again"),
    path("evaluations/<slug:key>/reveal/", evaluation_views.reveal, name="evaluation-reveal"),
    *(
        path(f"lineage/{what}/<slug:key>/", lineage_views.holdings, {"what": what}, name=f"holdings-{what}")
        for what in lineage_views.HELD
    ),
    path("models/<slug:key>/lineage/", lineage_views.model_lineage, name="model-lineage"),
    path("models/<slug:key>/lineage/reveal/", lineage_views.reveal_writers, name="model-lineage-reveal"),
    path("judgements/<slug:key>/", lineage_views.judgement, name="judgement"),
    path("judgements/<slug:key>/reveal/", lineage_views.reveal_answers, name="judgement-reveal"),
]
