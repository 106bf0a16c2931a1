"""Rights for the installation's administrator: to look at. What changes them asks for reasons and for somebody else."""

from django.contrib import admin

from chanote.rights.models import ExceptionRequest, Source, WithdrawnRow
from chanote.web.site import ReadOnlyAdmin


@admin.register(Source)
class SourceAdmin(ReadOnlyAdmin):
    list_display = ["slug", "project", "licence", "owner", "expires", "withdrawn"]
    list_filter = ["project", "non_commercial"]
    search_fields = ["slug", "title", "owner"]
    list_select_related = ["project"]


@admin.register(ExceptionRequest)
class ExceptionRequestAdmin(ReadOnlyAdmin):
    list_display = ["pk", "project", "version", "model", "use", "state", "until", "requested_by", "decided_by"]
    list_filter = ["state", "use", "project"]
    list_select_related = ["project", "version__dataset", "model", "requested_by", "decided_by"]


@admin.register(WithdrawnRow)
class WithdrawnRowAdmin(ReadOnlyAdmin):
    list_display = ["version", "number", "project", "withdrawn", "withdrawn_by"]
    list_filter = ["project"]
    list_select_related = ["project", "version__dataset", "withdrawn_by"]
