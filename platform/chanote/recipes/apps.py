"""Django application: recipes."""

from django.apps import AppConfig


class RecipesConfig(AppConfig):
    name = "chanote.recipes"
