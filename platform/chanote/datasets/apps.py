"""Django application: datasets."""

from django.apps import AppConfig


class DatasetsConfig(AppConfig):
    name = "chanote.datasets"
