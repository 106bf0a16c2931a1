"""Django application: toolsets, the playground, and the calls of runs."""

from django.apps import AppConfig


class ToolsConfig(AppConfig):
    name = "chanote.tools"
