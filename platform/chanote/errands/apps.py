"""Django application: long work that the platform does itself, such as checks of data, in processes of its own."""

from django.apps import AppConfig


class ErrandsConfig(AppConfig):
    name = "chanote.errands"
