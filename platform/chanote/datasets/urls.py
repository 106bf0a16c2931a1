"""Addresses of the datasets. A dataset's name never begins with a hyphen: `-/` is free."""

from django.urls import path

from chanote.datasets import views

BASE = "p/<slug:project>/datasets/"

urlpatterns = [
    path(BASE, views.dataset_list, name="datasets"),
    path(f"{BASE}-/import/", views.dataset_import, name="dataset_import"),
    path(f"{BASE}-/import/<slug:token>/", views.dataset_import_staged, name="dataset_import_staged"),
    path(f"{BASE}<slug:slug>/", views.dataset_detail, name="dataset"),
    path(f"{BASE}<slug:slug>/edit/", views.dataset_edit, name="dataset_edit"),
    path(f"{BASE}<slug:slug>/<int:number>.jsonl", views.dataset_download, name="dataset_download"),
]
