"""Django application: checks of dataset versions, their results, and the masking of personal data."""

from django.apps import AppConfig


class ChecksConfig(AppConfig):
    name = "chanote.checks"
