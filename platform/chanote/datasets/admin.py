"""Datasets in the admin: words about them may be mended there, versions only looked at."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from chanote.audit.services import record
from chanote.datasets.models import Dataset, DatasetVersion
from chanote.web.site import ReadOnlyAdmin, VisibleAdmin


@admin.register(Dataset)
class DatasetAdmin(VisibleAdmin):
    list_display = ["slug", "title", "kind", "project", "created"]
    list_filter = ["kind", "project"]
    search_fields = ["slug", "title"]
    fields = ["project", "slug", "kind", "title", "description", "languages", "created", "created_by"]
    readonly_fields = ["project", "slug", "kind", "created", "created_by"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Dataset, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        record("dataset.described", obj, actor=request.user, changed=form.changed_data)


@admin.register(DatasetVersion)
class DatasetVersionAdmin(ReadOnlyAdmin):
    list_display = ["reference", "rows", "licence", "non_commercial", "created", "created_by"]
    list_filter = ["dataset__kind", "non_commercial", "dataset__project"]
    list_select_related = ["dataset", "created_by"]
    search_fields = ["dataset__slug", "sha256"]
