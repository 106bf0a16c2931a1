"""Served checkpoints for the installation's administrator: to look at."""

from django.contrib import admin

from chanote.chat.models import ServedModel
from chanote.web.site import ReadOnlyAdmin


@admin.register(ServedModel)
class ServedModelAdmin(ReadOnlyAdmin):
    list_display = ["name", "project", "address", "engine", "created_by", "created", "seen"]
    list_filter = ["project"]
    list_select_related = ["project", "created_by"]
