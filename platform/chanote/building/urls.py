"""Addresses of builds and endpoints, below `p/<project>/`. A name never begins with a hyphen: `-/` is free."""

from django.urls import path

from chanote.building import views

BASE = "p/<slug:project>/builds/"
ENDPOINTS = "p/<slug:project>/endpoints/"

urlpatterns = [
    path(BASE, views.builds, name="builds"),
    path(f"{BASE}-/new/", views.build_kinds, name="build_kinds"),
    path(f"{BASE}-/new/<slug:kind>/", views.build_new, name="build_new"),
    path(f"{BASE}<int:number>/", views.build, name="build"),
    path(f"{BASE}<int:number>/<slug:step>/", views.build_dropped, name="build_dropped"),
    path(f"{BASE}<int:number>/<slug:step>.jsonl", views.build_dropped_file, name="build_dropped_file"),
    path(ENDPOINTS, views.endpoints, name="endpoints"),
    path(f"{ENDPOINTS}-/new/", views.endpoint_edit, name="endpoint_new"),
    path(f"{ENDPOINTS}<slug:slug>/", views.endpoint_edit, name="endpoint"),
]
