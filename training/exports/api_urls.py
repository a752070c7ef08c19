"""Addresses of exports, below ``/api/v1/``. Those of files end with the file's name, by which readers know what it is."""

from django.urls import path

from training.exports import api

app_name = "exports-api"

PROJECT = "projects/<slug:project>"

urlpatterns = [
    path(f"{PROJECT}/export-formats", api.Formats.as_view(), name="formats"),
    path(f"{PROJECT}/datasets/<slug:key>/exports", api.Exports.as_view(), name="exports"),
    path(f"{PROJECT}/datasets/<slug:key>/files/<str:name>", api.DatasetFile.as_view(), name="dataset-file"),
    path(f"{PROJECT}/exports/<slug:key>", api.OneExport.as_view(), name="export"),
    path(f"{PROJECT}/exports/<slug:key>/cancel", api.CancelExport.as_view(), name="cancel"),
    path(f"{PROJECT}/exports/<slug:key>/files/<str:name>", api.ExportFile.as_view(), name="file"),
]
