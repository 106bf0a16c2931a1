"""Django application: where data comes from, and what may be done with it."""

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class RightsConfig(AppConfig):
    name = "chanote.rights"

    def ready(self) -> None:
        """Let every app add its rules."""
        autodiscover_modules("rights_rules")
