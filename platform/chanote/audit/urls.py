"""Addresses of the audit log."""

from django.urls import path

from chanote.audit import views

urlpatterns = [
    path("p/<slug:project>/audit/", views.audit, name="audit"),
    path("p/<slug:project>/audit/log.csv", views.audit_csv, name="audit_csv"),
]
