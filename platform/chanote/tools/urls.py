"""Addresses of tools and toolsets. A toolset's name never begins with a hyphen: `-/` is free."""

from django.urls import path

from chanote.tools import call_views, views

BASE = "p/<slug:project>/tools/"
RUN = "p/<slug:project>/runs/<int:number>/"

urlpatterns = [
    path(BASE, views.toolset_list, name="toolsets"),
    path(f"{BASE}-/new/", views.toolset_new, name="toolset_new"),
    path(f"{BASE}-/playground/", views.playground, name="playground"),
    path(f"{BASE}<slug:slug>/", views.toolset_detail, name="toolset"),
    path(f"{BASE}<slug:slug>/edit/", views.toolset_edit, name="toolset_edit"),
    path(f"{BASE}<slug:slug>/<int:number>.jsonl", views.corpus_file, name="toolset_corpus"),
    path(f"{RUN}calls/", call_views.calls, name="run_calls"),
    path(f"{RUN}calls/<int:call>/", call_views.call, name="run_call"),
    path(f"{RUN}calls.csv", call_views.calls_csv, name="run_calls_csv"),
    path(f"{RUN}calls.json", call_views.calls_json, name="run_calls_json"),
]
