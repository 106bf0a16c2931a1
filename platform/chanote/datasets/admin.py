"""Datasets in the admin: words about them may be mended there, versions only looked at."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from import_export.admin import ImportMixin
from import_export.resources import ModelResource
from simple_history.admin import SimpleHistoryAdmin

from chanote.datasets.models import Dataset, DatasetVersion
from chanote.datasets.services import describe_dataset
from chanote.web.numbers import read_key
from chanote.web.site import ReadOnlyAdmin, TableExport, VisibleAdmin


class DatasetResource(ModelResource):
    """Words about datasets as a table. Importing one changes words only, of datasets that the person may change."""

    class Meta:
        model = Dataset
        fields = ("id", "project__slug", "slug", "title", "kind", "description", "languages", "created")
        use_transactions = True

    def skip_row(self, instance: Any, original: Any, row: Any, import_validation_errors: Any = None) -> bool:
        return all(getattr(instance, name) == getattr(original, name) for name in ("title", "description", "languages"))

    def before_import_row(self, row: Any, **kwargs: Any) -> None:
        """Rows name datasets that exist: new ones need rows of data, which a table of words has not."""
        known = Dataset.objects.visible_to(kwargs["user"])
        number = read_key(str(row.get("id", "")))
        if number is None or not known.filter(pk=number).exists():
            raise ValidationError(f"There is no dataset {row.get('slug') or row.get('id')}; import its rows first.")

    def import_field(self, field: Any, instance: Any, row: Any, is_m2m: bool = False, **kwargs: Any) -> None:
        if field.attribute in ("title", "description", "languages"):
            super().import_field(field, instance, row, is_m2m, **kwargs)

    def save_instance(self, instance: Any, is_create: bool, row: Any, **kwargs: Any) -> None:
        self.before_save_instance(instance, row, **kwargs)
        words = {name: getattr(instance, name) for name in ("title", "description", "languages")}
        describe_dataset(Dataset.objects.get(pk=instance.pk), actor=kwargs["user"], **words)
        self.after_save_instance(instance, row, **kwargs)


class VersionResource(ModelResource):
    class Meta:
        model = DatasetVersion
        fields = (
            "dataset__project__slug", "dataset__slug", "number", "sha256", "rows", "bytes", "licence", "uses",
            "non_commercial", "source", "reason", "created", "created_by__username",
        )  # fmt: skip


@admin.register(Dataset)
class DatasetAdmin(ImportMixin, TableExport, SimpleHistoryAdmin, VisibleAdmin):
    resource_classes = [DatasetResource]
    list_display = ["slug", "title", "kind", "project", "created"]
    list_filter = ["kind", "project"]
    search_fields = ["slug", "title", "description"]
    fields = ["project", "slug", "kind", "title", "description", "languages", "created", "created_by"]
    readonly_fields = ["project", "slug", "kind", "created", "created_by"]
    history_list_display = ["title", "languages"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_import_permission(self, request: HttpRequest) -> bool:
        return self.has_change_permission(request)

    def save_model(self, request: HttpRequest, obj: Dataset, form: Any, change: bool) -> None:
        words = {name: form.cleaned_data[name] for name in ("title", "description", "languages")}
        describe_dataset(Dataset.objects.get(pk=obj.pk), actor=request.user, **words)


@admin.register(DatasetVersion)
class DatasetVersionAdmin(TableExport, ReadOnlyAdmin):
    resource_classes = [VersionResource]
    list_display = ["reference", "state", "rows", "licence", "non_commercial", "created", "created_by"]
    list_filter = ["standing__state", "dataset__kind", "non_commercial", "licence", "dataset__project"]
    list_select_related = ["dataset", "created_by", "standing"]
    search_fields = ["dataset__slug", "sha256", "reason"]
    date_hierarchy = "created"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("dataset", "created_by", "standing")

    @admin.display(description="state", ordering="standing__state")
    def state(self, version: DatasetVersion) -> str:
        standing = getattr(version, "standing", None)
        return standing.get_state_display() if standing else "draft"
