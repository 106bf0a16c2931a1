"""Django application: data that is built at home, by asking models behind endpoints."""

from django.apps import AppConfig


class BuildingConfig(AppConfig):
    name = "chanote.building"
