"""Runs in Django's admin: to look at, never to change. Every write about a run goes through a service."""

from django.contrib import admin

from chanote.runs.models import Attempt, Checkpoint, Run, RunEvent
from chanote.web.site import ReadOnlyAdmin


class LongTable(ReadOnlyAdmin):
    show_full_result_count = False
    list_per_page = 50


@admin.register(Run)
class RunAdmin(LongTable):
    list_display = ("name", "project", "number", "state", "step", "total_steps", "owner", "created")
    list_filter = ("state", "project")
    list_select_related = ("project", "owner")
    search_fields = ("name",)


@admin.register(Attempt)
class AttemptAdmin(LongTable):
    list_display = ("run", "number", "state", "worker", "heartbeat", "exit_code", "fence")
    list_filter = ("state",)
    list_select_related = ("run",)


@admin.register(Checkpoint)
class CheckpointAdmin(LongTable):
    list_display = ("run", "step", "stage", "bytes", "sha256", "removed")
    list_select_related = ("run",)


@admin.register(RunEvent)
class RunEventAdmin(LongTable):
    list_display = ("attempt", "seq", "type", "at")
    list_filter = ("type",)
    list_select_related = ("attempt__run",)
