"""Django application: custody."""

from django.apps import AppConfig


class CustodyConfig(AppConfig):
    name = "chanote.custody"
