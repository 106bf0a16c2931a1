"""Models in the admin: words about them may be mended there, what they are made of only looked at."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from chanote.audit.services import record
from chanote.models.models import Model
from chanote.web.site import VisibleAdmin

WORDS = ("title", "licence", "description")


@admin.register(Model)
class ModelAdmin(VisibleAdmin):
    list_display = ["slug", "title", "origin", "parameters", "licence", "project", "created"]
    list_filter = ["origin", "project"]
    search_fields = ["slug", "title", "sha256"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [field.name for field in Model._meta.fields if field.name not in WORDS]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        record("model.described", obj, actor=request.user, changed=form.changed_data)
