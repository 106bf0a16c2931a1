"""Boards in the admin: titles may be mended there, what was scored only looked at."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from chanote.audit.services import record
from chanote.boards.models import Alias, Board, Evaluation, ImportedFile, Sample, SharedLink, Snapshot, Task
from chanote.web.site import VisibleAdmin


class Frozen(VisibleAdmin):
    """Rows that are written once by the platform."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Board)
class BoardAdmin(VisibleAdmin):
    list_display = ["slug", "title", "project", "baseline", "created"]
    list_filter = ["project"]
    search_fields = ["slug", "title"]
    readonly_fields = ["project", "slug", "created", "created_by"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Board, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        record("board.changed", obj, actor=request.user, changed=form.changed_data)

    def delete_model(self, request: HttpRequest, obj: Board) -> None:
        record("board.deleted", obj, actor=request.user)
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Board]) -> None:
        for board in queryset:
            self.delete_model(request, board)


@admin.register(Task)
class TaskAdmin(Frozen):
    list_display = ["reference", "title", "project", "dataset_version", "created"]
    list_filter = ["project"]
    search_fields = ["slug", "title"]


@admin.register(Evaluation)
class EvaluationAdmin(Frozen):
    list_display = ["task", "model", "mean", "count", "failed", "created"]
    list_filter = ["project"]
    search_fields = ["task__slug", "model__slug"]


@admin.register(Sample)
class SampleAdmin(Frozen):
    list_display = ["item", "evaluation", "score", "status"]
    list_filter = ["status"]
    search_fields = ["item"]


@admin.register(Alias)
class AliasAdmin(Frozen):
    list_display = ["name", "model", "guard", "project", "changed"]
    list_filter = ["project"]
    search_fields = ["name"]


@admin.register(Snapshot)
class SnapshotAdmin(Frozen):
    list_display = ["board", "number", "sha256", "created", "created_by"]
    list_filter = ["board"]
    exclude = ["packed"]


@admin.register(SharedLink)
class SharedLinkAdmin(Frozen):
    list_display = ["id", "snapshot", "with_items", "created", "expires", "revoked"]
    exclude = ["token_sha256"]


@admin.register(ImportedFile)
class ImportedFileAdmin(Frozen):
    list_display = ["name", "format", "project", "sha256", "created", "created_by"]
    list_filter = ["project", "format"]
