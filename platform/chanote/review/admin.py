"""Labels for the installation's administrator: to look at, since each belongs to the person who gave it."""

from django.contrib import admin

from chanote.review.models import Label, LabelExport
from chanote.web.site import ReadOnlyAdmin


@admin.register(Label)
class LabelAdmin(ReadOnlyAdmin):
    list_display = ["run", "step", "place", "label", "author_name", "changed"]
    list_filter = ["label", "run__project"]
    search_fields = ["run__name", "author_name", "note"]
    list_select_related = ["run"]


@admin.register(LabelExport)
class LabelExportAdmin(ReadOnlyAdmin):
    list_display = ["version", "project", "labels", "created", "created_by"]
    list_filter = ["project"]
    list_select_related = ["version__dataset", "project", "created_by"]
