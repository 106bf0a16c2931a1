"""Bundles, packages and keys in the admin: only to read, decisions are made on their pages."""

from django.contrib import admin

from chanote.custody.models import BundleExport, Package, TrustedKey
from chanote.web.site import ReadOnlyAdmin


@admin.register(BundleExport)
class BundleExportAdmin(ReadOnlyAdmin):
    list_display = ["name", "kind", "fingerprint", "bytes", "project", "created", "created_by"]
    list_filter = ["kind", "project"]
    search_fields = ["name", "content_sha256", "manifest_sha256"]


@admin.register(Package)
class PackageAdmin(ReadOnlyAdmin):
    list_display = ["name", "state", "rows", "fingerprint", "project", "uploaded", "uploaded_by", "decided_by"]
    list_filter = ["state", "project"]
    search_fields = ["name", "manifest_sha256"]


@admin.register(TrustedKey)
class TrustedKeyAdmin(ReadOnlyAdmin):
    list_display = ["owner", "fingerprint", "project", "accepted", "accepted_by"]
    list_filter = ["project"]
    search_fields = ["owner", "key"]
