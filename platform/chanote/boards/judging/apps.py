"""Django application: what people say of judged answers."""

from django.apps import AppConfig


class JudgingConfig(AppConfig):
    name = "chanote.boards.judging"
    label = "judging"
