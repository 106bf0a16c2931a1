"""People, projects, members and tokens in the admin. Writes go through the services, so each is in the audit log."""

from typing import Any

from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import AdminPasswordChangeForm, AdminUserCreationForm
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest

from chanote.accounts.models import ApiToken, Membership, Project, User
from chanote.accounts.services import (
    MembershipRefused,
    create_project,
    remove_member,
    revoke_token,
    set_role,
    update_project,
)
from chanote.audit.services import record
from chanote.web.site import ReadOnlyAdmin, VisibleAdmin

# Logins and wrong passwords are looked at here, never cleaned up: a lockout ends by itself.
for _table in (AccessAttempt, AccessLog, AccessFailureLog):
    admin.site.unregister(_table)

# Rights come from roles in projects; groups would be a second truth beside them.
admin.site.unregister(Group)


@admin.register(AccessAttempt, AccessLog, AccessFailureLog)
class LoginAdmin(admin.ModelAdmin):
    list_display = ["attempt_time", "username", "ip_address", "path_info"]
    search_fields = ["username", "ip_address"]
    date_hierarchy = "attempt_time"
    actions = None

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class OtherPasswordForm(AdminPasswordChangeForm):
    """A password that somebody else chose must be changed at the next login."""

    def save(self, commit: bool = True) -> Any:
        self.user.must_change_password = True
        return super().save(commit)


@admin.register(User)
class PersonAdmin(UserAdmin):
    """An account is closed, not deleted: what its owner did keeps their name."""

    add_form = AdminUserCreationForm
    change_password_form = OtherPasswordForm
    list_display = ["username", "first_name", "last_name", "is_active", "is_superuser", "last_login"]
    list_filter = ["is_active", "is_superuser"]
    readonly_fields = ["last_login", "date_joined", "must_change_password"]
    fieldsets = [
        (None, {"fields": ["username", "password", "must_change_password"]}),
        ("Person", {"fields": ["first_name", "last_name", "email"]}),
        ("Installation", {"fields": ["is_active", "is_staff", "is_superuser"]}),
        ("Dates", {"fields": ["last_login", "date_joined"]}),
    ]
    filter_horizontal = []

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        people = super().get_queryset(request)
        if request.user.is_superuser:
            return people
        return people.filter(projects__in=Project.objects.visible_to(request.user), is_superuser=False).distinct()

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        fields = list(super().get_readonly_fields(request, obj))
        return fields if request.user.is_superuser else [*fields, "is_active", "is_staff", "is_superuser"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        obj.must_change_password = obj.must_change_password or not change
        super().save_model(request, obj, form, change)
        verb = "user.changed" if change else "user.created"
        record(verb, obj, actor=request.user, fields=sorted(set(form.changed_data) - {"password1", "password2"}))

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        if "password" in str(message).lower():
            record("password.reset", obj, actor=request.user)
        return super().log_change(request, obj, message)


@admin.register(Project)
class ProjectAdmin(VisibleAdmin):
    list_display = ["name", "slug", "created"]
    search_fields = ["name", "slug"]
    fields = ["slug", "name", "description", "reviews_data"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        # The slug stands in addresses and in recipes of other people.
        return ["slug"] if obj else []

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        fields = {name: form.cleaned_data[name] for name in ("name", "description", "reviews_data")}
        if change:
            update_project(Project.objects.get(pk=obj.pk), actor=request.user, **fields)
        else:
            made = create_project(slug=form.cleaned_data["slug"], owner=request.user, **fields)  # type: ignore[arg-type]
            obj.pk, obj._state.adding = made.pk, False


@admin.register(Membership)
class MembershipAdmin(VisibleAdmin):
    list_display = ["user", "project", "role"]
    list_filter = ["project", "role"]
    search_fields = ["user__username"]
    actions = None

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["user", "project"] if obj else []

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        try:
            made = set_role(user=obj.user, project=obj.project, role=form.cleaned_data["role"], actor=request.user)
            obj.pk, obj._state.adding = made.pk, False
        except MembershipRefused as error:
            messages.error(request, str(error))

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        try:
            remove_member(obj, actor=request.user)
        except MembershipRefused as error:
            messages.error(request, str(error))


@admin.register(ApiToken)
class TokenAdmin(ReadOnlyAdmin):
    """Tokens are made by their owners; an administrator may end one."""

    list_display = ["name", "user", "scopes", "created", "expiry", "last_used"]
    list_filter = ["user"]
    search_fields = ["name", "user__username"]
    exclude = ["digest"]
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        tokens = ApiToken.objects.get_queryset()
        return tokens if request.user.is_superuser else tokens.filter(user=request.user.pk)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.is_superuser

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        revoke_token(obj, actor=request.user)
