"""Curation in the admin: to look at, to filter, with its history and the differences in it.

Nothing is changed here past the rules: acts of a review are the same services as everywhere, and they refuse here what
they refuse there.
"""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest
from import_export.resources import ModelResource
from simple_history.admin import SimpleHistoryAdmin

from chanote.curation.models import ChangeSet, Comment, Signature, Standing
from chanote.curation.services import CurationRefused, withdraw_version
from chanote.web.site import ReadOnlyAdmin, TableExport


class CommentResource(ModelResource):
    class Meta:
        model = Comment
        fields = ("id", "version__dataset__slug", "version__number", "row", "text", "author_name", "created")


class StandingResource(ModelResource):
    class Meta:
        model = Standing
        fields = (
            "version__dataset__slug", "version__number", "version__sha256", "state", "restricted", "made_by__username",
            "asked_by__username", "first_by__username", "second_by__username", "reason", "changed",
        )  # fmt: skip


@admin.register(Standing)
class StandingAdmin(TableExport, SimpleHistoryAdmin, ReadOnlyAdmin):
    resource_classes = [StandingResource]
    list_display = ["version", "state", "restricted", "made_by", "asked_by", "first_by", "second_by", "changed"]
    list_filter = ["state", "restricted", "version__dataset__project"]
    list_select_related = ["version__dataset", "made_by", "asked_by", "first_by", "second_by"]
    search_fields = ["version__dataset__slug", "version__sha256", "asked_by__username", "first_by__username"]
    history_list_display = ["state", "restricted", "reason"]
    actions = ["withdraw"]

    def history_form_view(self, request: HttpRequest, *arguments: Any, **named: Any) -> Any:
        if request.method == "POST":
            raise PermissionDenied("An earlier state is looked at here and not brought back.")
        return super().history_form_view(request, *arguments, **named)

    @admin.action(description="Withdraw the versions for good", permissions=["view"])
    def withdraw(self, request: HttpRequest, standings: QuerySet[Standing]) -> None:
        """Asks the service for each; it writes the log and refuses whom it refuses elsewhere."""
        for standing in standings.select_related("version__dataset__project"):
            try:
                withdraw_version(standing.version, reason="Withdrawn in the administration.", actor=request.user)
            except CurationRefused as refused:
                self.message_user(request, str(refused), messages.ERROR)
            else:
                self.message_user(request, f"{standing.version} is withdrawn.", messages.SUCCESS)


@admin.register(Signature)
class SignatureAdmin(ReadOnlyAdmin):
    list_display = ["standing", "person_name", "verdict", "round", "created"]
    list_filter = ["verdict", "standing__version__dataset__project"]
    list_select_related = ["standing__version__dataset"]
    search_fields = ["person_name", "note", "standing__version__dataset__slug"]


@admin.register(Comment)
class CommentAdmin(TableExport, ReadOnlyAdmin):
    resource_classes = [CommentResource]
    list_display = ["version", "row", "author_name", "text", "created"]
    list_filter = ["version__dataset__project"]
    list_select_related = ["version__dataset"]
    search_fields = ["text", "author_name", "version__dataset__slug"]


@admin.register(ChangeSet)
class ChangeSetAdmin(ReadOnlyAdmin):
    list_display = ["version", "author_name", "status", "result", "created", "closed"]
    list_filter = ["status", "version__dataset__project"]
    list_select_related = ["version__dataset", "result__dataset"]
    search_fields = ["author_name", "version__dataset__slug"]
