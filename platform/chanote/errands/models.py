"""Errands: what is to be done, how far it is, how it ended."""

from pathlib import Path

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse

from chanote.accounts.models import Project
from chanote.accounts.visibility import VisibleQuerySet


class State(models.TextChoices):
    QUEUED = "queued", "queued"
    RUNNING = "running", "running"
    FINISHED = "finished", "finished"
    STOPPED = "stopped", "stopped"
    FAILED = "failed", "failed"


ACTIVE = (State.QUEUED, State.RUNNING)


class Errand(models.Model):
    """Long work of the platform. One process at a time works on it: the one that holds the fence."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="errands")
    kind = models.CharField(max_length=60)
    """Name in the registry, such as `checks.run`."""
    title = models.CharField(max_length=200)
    config = models.JSONField(default=dict)
    subject_kind = models.CharField(max_length=40, blank=True)
    subject_id = models.CharField(max_length=64, blank=True)
    """The row that it is about, as in the audit log."""
    state = models.CharField(max_length=8, choices=State.choices, default=State.QUEUED)
    done = models.PositiveBigIntegerField(default=0)
    total = models.PositiveBigIntegerField(default=0)
    """0 while it is not known."""
    words = models.CharField(max_length=200, blank=True)
    """What is being done now."""
    cost = models.JSONField(default=dict)
    """Name → number, such as tokens or money spent so far."""
    result = models.JSONField(default=dict)
    """What the work returned; `link` is where it can be looked at."""
    fault = models.TextField(blank=True)
    stop_asked = models.BooleanField(default=False)
    fence = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    host = models.CharField(max_length=120, blank=True)
    pid = models.PositiveIntegerField(null=True, blank=True)
    pid_started = models.FloatField(null=True, blank=True)
    created = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    started = models.DateTimeField(null=True, blank=True)
    ended = models.DateTimeField(null=True, blank=True)

    objects = VisibleQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["state", "id"], name="errand_by_state"),
            models.Index(fields=["subject_kind", "subject_id"], name="errand_by_subject"),
        ]
        constraints = [models.CheckConstraint(condition=Q(state__in=State.values), name="errand_state_known")]

    def __str__(self) -> str:
        return f"errand {self.pk}: {self.title}"

    def get_absolute_url(self) -> str:
        return reverse("errand", args=[self.project.slug, self.pk])

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE

    @property
    def percent(self) -> int | None:
        """Share done in percent; None while the total is not known."""
        return min(100 * self.done // self.total, 100) if self.total else None

    @property
    def directory(self) -> Path:
        """Files that the work keeps between its starts."""
        return Path(settings.HOME) / "errands" / str(self.pk)
