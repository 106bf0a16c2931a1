"""Django application: where data comes from, and what may be done with it."""

from django.apps import AppConfig


class RightsConfig(AppConfig):
    name = "chanote.rights"
