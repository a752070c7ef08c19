"""Addresses of files, below ``/api/v1/``. Each ends with the file's name, by which readers know what it is."""

from django.urls import path

from training.exports import api

app_name = "exports-api"

urlpatterns = [
    path("projects/<slug:project>/exports/<slug:key>/files/<str:name>", api.ExportFile.as_view(), name="file"),
    path(
        "projects/<slug:project>/datasets/<slug:key>/files/<str:name>", api.DatasetFile.as_view(), name="dataset-file"
    ),
]
