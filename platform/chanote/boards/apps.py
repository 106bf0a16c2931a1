"""Django application: boards."""

from django.apps import AppConfig


class BoardsConfig(AppConfig):
    name = "chanote.boards"
