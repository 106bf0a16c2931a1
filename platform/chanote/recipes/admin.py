"""Recipes for the installation's administrator: to look at, since revisions never change."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from chanote.recipes.models import Recipe, Revision


class LookOnly(admin.ModelAdmin):
    """Rows change through services alone, which check and write the audit log."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> Any:
        return self.model._default_manager.visible_to(request.user)


@admin.register(Recipe)
class RecipeAdmin(LookOnly):
    list_display = ["slug", "title", "project", "from_library", "created", "created_by"]
    list_filter = ["project"]
    search_fields = ["slug", "title"]
    list_select_related = ["project", "created_by"]


@admin.register(Revision)
class RevisionAdmin(LookOnly):
    list_display = ["recipe", "number", "message", "created", "created_by"]
    list_filter = ["recipe__project"]
    search_fields = ["recipe__slug", "message"]
    list_select_related = ["recipe", "created_by"]
