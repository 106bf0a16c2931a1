"""Django application: runs."""

from django.apps import AppConfig


class RunsConfig(AppConfig):
    name = "chanote.runs"
