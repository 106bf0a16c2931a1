"""Addresses of errands, below `p/<project>/`."""

from django.urls import path

from chanote.errands import views

BASE = "p/<slug:project>/errands/"

urlpatterns = [
    path(BASE, views.errands, name="errands"),
    path(f"{BASE}<int:number>/", views.errand, name="errand"),
    path(f"{BASE}<int:number>/progress/", views.progress, name="errand_progress"),
]
