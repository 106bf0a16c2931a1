"""Toolsets for the installation's administrator: to look at, since revisions never change."""

from django.contrib import admin

from chanote.tools.models import Toolset, ToolsetRevision
from chanote.web.site import ReadOnlyAdmin


@admin.register(Toolset)
class ToolsetAdmin(ReadOnlyAdmin):
    list_display = ["slug", "title", "project", "created", "created_by"]
    list_filter = ["project"]
    search_fields = ["slug", "title"]
    list_select_related = ["project", "created_by"]


@admin.register(ToolsetRevision)
class ToolsetRevisionAdmin(ReadOnlyAdmin):
    list_display = ["toolset", "number", "corpus", "image_digest", "message", "created", "created_by"]
    list_filter = ["toolset__project"]
    search_fields = ["toolset__slug", "message"]
    list_select_related = ["toolset", "corpus__dataset", "created_by"]
