"""Who did what, when: rows are written once and never changed."""

from typing import Any

from django.conf import settings
from django.db import connections, models, router, transaction
from django.utils import timezone

from chanote.accounts.models import Project
from chanote.accounts.visibility import VisibleQuerySet
from chanote.audit.chain import FIELDS, START, digest_event, link_event


class AppendOnlyError(Exception):
    """The audit log was asked to forget or rewrite something."""


class Refusing:
    """What the ORM offers to change rows, refused."""

    def update(self, **values: object) -> int:
        raise AppendOnlyError("the audit log cannot be changed")

    def delete(self) -> tuple[int, dict[str, int]]:
        raise AppendOnlyError("the audit log cannot be deleted")

    def bulk_create(self, *args: Any, **kwargs: Any) -> Any:
        raise AppendOnlyError("events are recorded one by one, each with its link in the chain")


class AuditQuerySet(Refusing, VisibleQuerySet):
    pass


class LinkQuerySet(Refusing, models.QuerySet):
    pass


class AuditEvent(models.Model):
    """One act. Refused here are the ways of the ORM; the triggers of `triggers.py` refuse every other."""

    at = models.DateTimeField(default=timezone.now, editable=False, db_index=True)
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
    digest = models.CharField(max_length=64, editable=False)
    """Hash of all fields above, see `chain.digest_event`."""

    objects = AuditQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["object_kind", "object_id"])]

    def __str__(self) -> str:
        return f"{self.actor_name or 'system'} {self.verb} {self.object_name}"

    def save(self, *args: object, **kwargs: object) -> None:
        if self.pk is not None:
            raise AppendOnlyError("an audit event cannot be changed")
        self.digest = self.compute_digest()
        using = router.db_for_write(type(self), instance=self)
        with transaction.atomic(using=using):
            super().save(*args, **kwargs)
            # PostgreSQL links at the commit by a trigger of its own.
            if connections[using].vendor != "postgresql":
                _append_link(self)

    def compute_digest(self) -> str:
        values = {name: getattr(self, f"{name}_id" if name in ("actor", "project") else name) for name in FIELDS}
        return digest_event(at=self.at, fields=values, detail=self.detail)

    def delete(self, *args: object, **kwargs: object) -> tuple[int, dict[str, int]]:
        raise AppendOnlyError("an audit event cannot be deleted")


class AuditLink(models.Model):
    """An event's place in the chain; written with the event, in the order of commits."""

    position = models.BigIntegerField(primary_key=True)
    """From 1 on, without gaps."""
    event = models.OneToOneField(AuditEvent, on_delete=models.DO_NOTHING, db_constraint=False, related_name="link")
    sha256 = models.CharField(max_length=64)

    objects = LinkQuerySet.as_manager()

    class Meta:
        ordering = ["position"]

    def __str__(self) -> str:
        return f"{self.position} {self.sha256[:12]}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AppendOnlyError("a link of the audit log cannot be changed")
        super().save(*args, **{**kwargs, "force_insert": True})

    def delete(self, *args: object, **kwargs: object) -> tuple[int, dict[str, int]]:
        raise AppendOnlyError("a link of the audit log cannot be deleted")


def _append_link(event: AuditEvent) -> None:
    last = AuditLink.objects.order_by("-position").first()
    position, previous = (last.position, last.sha256) if last else (0, START)
    AuditLink(position=position + 1, event=event, sha256=link_event(previous, event.pk, event.digest)).save()
