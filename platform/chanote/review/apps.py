"""Django application: labels that people give to rollouts, and the inbox of rollouts that are worth a look."""

from django.apps import AppConfig


class ReviewConfig(AppConfig):
    name = "chanote.review"
