"""Django application: served checkpoints, and the page on which people try them."""

from django.apps import AppConfig


class ChatConfig(AppConfig):
    name = "chanote.chat"
