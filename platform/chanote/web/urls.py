"""Addresses of the home page, of a project, and of the checks that monitors ask."""

from django.urls import path

from chanote.web import views

urlpatterns = [
    path("", views.home, name="home"),
    path("p/<slug:project>/", views.project_home, name="project"),
]
