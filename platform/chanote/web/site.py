"""Django's admin as this platform uses it: one visibility rule, one login, one audit log."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import get_fields_from_path
from django.contrib.auth.views import redirect_to_login
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from import_export.admin import ExportMixin

from chanote.accounts.visibility import VisibleQuerySet


class VisibleAdmin(admin.ModelAdmin):
    """Rows of the projects that the person belongs to."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return self.model._default_manager.visible_to(request.user)

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        """Filters over related rows offer those alone that the visible rows name."""
        return [self._narrow(one) if isinstance(one, str) else one for one in super().get_list_filter(request)]

    def _narrow(self, path: str) -> Any:
        field = get_fields_from_path(self.model, path)[-1]
        return (path, admin.RelatedOnlyFieldListFilter) if field.is_relation else path

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        rows = db_field.related_model._default_manager.get_queryset()
        if field is not None and isinstance(rows, VisibleQuerySet):
            field.queryset = rows.visible_to(request.user)
        return field


class ReadOnlyAdmin(VisibleAdmin):
    """Rows that are only looked at here."""

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class TableExport(ExportMixin):
    """Takes the rows that a person sees away as a table."""

    def has_export_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def get_valid_export_item_pks(self, request: HttpRequest) -> Any:
        return self.get_queryset(request).values_list("pk", flat=True)


def open_login(request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
    """The platform's own login, with its lockout; whoever is logged in and no staff learns nothing."""
    if request.user.is_authenticated:
        raise Http404
    return redirect_to_login(request.GET.get("next", "") or request.get_full_path())
