"""Addresses of the home page, of a project, and of the checks that monitors ask."""

from django.urls import path

from chanote.web import health, metrics, views

urlpatterns = [
    path("", views.home, name="home"),
    path("p/<slug:project>/", views.project_home, name="project"),
    path("livez", health.livez, name="livez"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", metrics.metrics, name="metrics"),
]
