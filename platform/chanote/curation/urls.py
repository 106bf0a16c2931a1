"""Addresses of curation, below those of a dataset version."""

from django.urls import path

from chanote.curation import bulk_views, queue_views, views

BASE = "p/<slug:project>/datasets/<slug:slug>/<int:number>/"

urlpatterns = [
    path(f"{BASE}review/", views.review_act, name="version_review_act"),
    path(f"{BASE}changes/", views.changes, name="row_changes"),
    path(f"{BASE}queue/", queue_views.queue, name="row_queue"),
    path(f"{BASE}bulk/", bulk_views.bulk, name="row_bulk"),
]
