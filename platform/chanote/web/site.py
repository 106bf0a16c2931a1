"""Django's admin as this platform uses it: one visibility rule, one login, one audit log."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.views import redirect_to_login
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse


class VisibleAdmin(admin.ModelAdmin):
    """Rows of the projects that the person belongs to."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return self.model._default_manager.visible_to(request.user)


class ReadOnlyAdmin(VisibleAdmin):
    """Rows that are only looked at here."""

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def open_login(request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
    """The platform's own login, with its lockout; whoever is logged in and no staff learns nothing."""
    if request.user.is_authenticated:
        raise Http404
    return redirect_to_login(request.GET.get("next", "") or request.get_full_path())
