"""Results of checks for the installation's administrator, to look at."""

from django.contrib import admin

from chanote.checks.models import CheckResult, CheckSettings
from chanote.web.site import ReadOnlyAdmin


@admin.register(CheckResult)
class CheckResultAdmin(ReadOnlyAdmin):
    list_display = ["version", "check_name", "check_version", "rows", "found_rows", "seconds", "created", "created_by"]
    list_filter = ["check_name", "version__dataset__project"]
    search_fields = ["version__dataset__slug"]
    list_select_related = ["version__dataset", "created_by"]


@admin.register(CheckSettings)
class CheckSettingsAdmin(ReadOnlyAdmin):
    list_display = ["project", "check_name", "changed", "changed_by"]
    list_filter = ["check_name", "project"]
    list_select_related = ["project", "changed_by"]
