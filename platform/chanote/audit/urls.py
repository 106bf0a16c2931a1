"""Addresses of the audit log."""

from django.urls import path

from chanote.audit import views

urlpatterns = [
    path("p/<slug:project>/audit/", views.audit, name="audit"),
    path("p/<slug:project>/audit/log.csv", views.audit_file, {"format": "csv"}, name="audit_csv"),
    path("p/<slug:project>/audit/log.jsonl", views.audit_file, {"format": "jsonl"}, name="audit_jsonl"),
]
