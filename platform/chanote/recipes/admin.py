"""Recipes for the installation's administrator: to look at, since revisions never change."""

from django.contrib import admin

from chanote.recipes.models import Recipe, Revision
from chanote.web.site import ReadOnlyAdmin


@admin.register(Recipe)
class RecipeAdmin(ReadOnlyAdmin):
    list_display = ["slug", "title", "project", "from_library", "created", "created_by"]
    list_filter = ["project"]
    search_fields = ["slug", "title"]
    list_select_related = ["project", "created_by"]


@admin.register(Revision)
class RevisionAdmin(ReadOnlyAdmin):
    list_display = ["recipe", "number", "message", "created", "created_by"]
    list_filter = ["recipe__project"]
    search_fields = ["recipe__slug", "message"]
    list_select_related = ["recipe", "created_by"]
