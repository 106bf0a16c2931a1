"""Endpoints and builds for the installation's administrator: to look at."""

from django.contrib import admin

from chanote.building.models import Build, TeacherEndpoint
from chanote.web.site import ReadOnlyAdmin


@admin.register(TeacherEndpoint)
class TeacherEndpointAdmin(ReadOnlyAdmin):
    list_display = ["slug", "project", "base_url", "model", "has_key", "licence", "created"]
    list_filter = ["project"]
    search_fields = ["slug", "model", "base_url"]


@admin.register(Build)
class BuildAdmin(ReadOnlyAdmin):
    list_display = ["title", "kind", "project", "result", "created_by", "created"]
    list_filter = ["kind", "project"]
    list_select_related = ["project", "created_by", "result"]
