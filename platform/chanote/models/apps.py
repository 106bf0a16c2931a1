"""Django application: models."""

from django.apps import AppConfig


class ModelsConfig(AppConfig):
    name = "chanote.models"
