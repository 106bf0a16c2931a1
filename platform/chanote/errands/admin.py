"""Errands for the installation's administrator: to look at."""

from django.contrib import admin

from chanote.errands.models import Errand
from chanote.web.site import ReadOnlyAdmin


@admin.register(Errand)
class ErrandAdmin(ReadOnlyAdmin):
    list_display = ["title", "kind", "project", "state", "created_by", "created", "ended"]
    list_filter = ["state", "kind", "project"]
    list_select_related = ["project", "created_by"]
