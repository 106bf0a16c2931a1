"""Checkpoints that are being served now."""

from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import models
from django.utils import timezone

from chanote.accounts.models import Project
from chanote.accounts.visibility import VisibleQuerySet
from chanote.models.models import Model
from chanote.runs.models import Checkpoint, Run

BEAT_S = 5.0
"""Seconds between two signs of life of a server."""
SILENT_S = 20.0
"""After so many seconds without one it counts as gone."""


class ServedQuerySet(VisibleQuerySet):
    def alive(self) -> "ServedQuerySet":
        return self.filter(seen__gte=timezone.now() - timedelta(seconds=SILENT_S))


class ServedModel(models.Model):
    """One server that `chanote serve` started. The row goes with the server; the audit log keeps that it was."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="served")
    name = models.CharField(max_length=200)
    """By which requests call the model."""
    checkpoint = models.ForeignKey(Checkpoint, null=True, blank=True, on_delete=models.CASCADE, related_name="served")
    model = models.ForeignKey(Model, null=True, blank=True, on_delete=models.CASCADE, related_name="served")
    address = models.CharField(max_length=300)
    token_file = models.CharField(max_length=1000)
    """Holds its key, readable by the installation's own user only."""
    engine = models.CharField(max_length=20)
    context = models.PositiveIntegerField(default=0)
    """Tokens of prompt and completion; 0 where the server did not tell."""
    created = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    seen = models.DateTimeField(default=timezone.now)
    """Its last sign of life."""

    objects = ServedQuerySet.as_manager()

    class Meta:
        ordering = ["-created"]

    def __str__(self) -> str:
        return self.name

    @property
    def run(self) -> Run | None:
        """The run whose policy is served; None for a model that no run made."""
        if self.checkpoint is not None:
            return self.checkpoint.run
        made = getattr(self.model, "checkpoint", None)
        return None if made is None else made.run

    @property
    def step(self) -> int:
        made = self.checkpoint or getattr(self.model, "checkpoint", None)
        return 0 if made is None else int(made.step)

    @property
    def toolset(self) -> str:
        """Name of the toolset that its policy was trained with; empty when there was none."""
        frozen = self.run.snapshot.get("toolset") if self.run else None
        return str((frozen or {}).get("name", "")).partition("@")[0]

    def read_token(self) -> str:
        """Raises OSError."""
        return Path(self.token_file).read_text(encoding="utf-8").strip()
