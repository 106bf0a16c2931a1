"""Django application: accounts."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "chanote.accounts"
