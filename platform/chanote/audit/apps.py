"""Django application: audit."""

from django.apps import AppConfig


class AuditConfig(AppConfig):
    name = "chanote.audit"
