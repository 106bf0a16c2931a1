"""The audit log in the admin: over all projects that the person sees, and only to read."""

from django.contrib import admin

from chanote.audit.models import AuditEvent
from chanote.web.site import ReadOnlyAdmin


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    list_display = ["at", "actor_name", "verb", "object_kind", "object_name", "project"]
    list_filter = ["verb", "project"]
    search_fields = ["actor_name", "object_name", "object_id"]
    date_hierarchy = "at"
    exclude = ["actor"]
    actions = None
