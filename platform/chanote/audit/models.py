"""Who did what, when: rows are written once and never changed."""

from django.conf import settings
from django.db import models

from chanote.accounts.models import Project
from chanote.accounts.visibility import VisibleQuerySet


class AppendOnlyError(Exception):
    """The audit log was asked to forget or rewrite something."""


class AuditQuerySet(VisibleQuerySet):
    def update(self, **values: object) -> int:
        raise AppendOnlyError("the audit log cannot be changed")

    def delete(self) -> tuple[int, dict[str, int]]:
        raise AppendOnlyError("the audit log cannot be deleted")


class AuditEvent(models.Model):
    at = models.DateTimeField(auto_now_add=True, db_index=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.DO_NOTHING, db_constraint=False
    )
    """Empty for acts of the system itself."""
    actor_name = models.CharField(max_length=150, blank=True)
    project = models.ForeignKey(Project, null=True, blank=True, on_delete=models.DO_NOTHING, db_constraint=False)
    verb = models.CharField(max_length=60)
    """Past tense with its noun, such as `run.launched`."""
    object_kind = models.CharField(max_length=40, blank=True)
    object_id = models.CharField(max_length=64, blank=True)
    object_name = models.CharField(max_length=200, blank=True)
    detail = models.JSONField(default=dict)

    objects = AuditQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["object_kind", "object_id"])]

    def __str__(self) -> str:
        return f"{self.actor_name or 'system'} {self.verb} {self.object_name}"

    def save(self, *args: object, **kwargs: object) -> None:
        if self.pk is not None:
            raise AppendOnlyError("an audit event cannot be changed")
        super().save(*args, **kwargs)

    def delete(self, *args: object, **kwargs: object) -> tuple[int, dict[str, int]]:
        raise AppendOnlyError("an audit event cannot be deleted")
