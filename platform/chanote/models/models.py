"""Models: base checkpoints that people register and checkpoints that runs leave, with their lineage."""

import re

from django.conf import settings
from django.db import models
from django.urls import reverse

from chanote.accounts.models import Project, slug_validator
from chanote.accounts.visibility import VisibleQuerySet
from chanote.datasets.models import Use

HUB_SNAPSHOT = re.compile(r"models--([^/]+)/snapshots/([0-9a-f]{40})")


class Origin(models.TextChoices):
    DIRECTORY = "directory", "local directory"
    HUB = "hub", "hub name"
    RUN = "run", "made by a run"


def allow_all() -> list[str]:
    return list(Use.values)


class Model(models.Model):
    """A Hugging Face checkpoint that can start a run or stand on a board."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="models")
    slug = models.CharField(max_length=120, validators=[slug_validator])
    title = models.CharField(max_length=160, blank=True)
    origin = models.CharField(max_length=10, choices=Origin.choices)
    location = models.CharField(max_length=1000)
    """Directory with the files; of a hub model its snapshot in the cache of this machine."""
    sha256 = models.CharField(max_length=64, db_index=True)
    """Hash over all files, as `trainer.contract.ModelFile.sha256`."""
    bytes = models.PositiveBigIntegerField(default=0)
    parameters = models.PositiveBigIntegerField(null=True, blank=True)
    context_length = models.PositiveIntegerField(null=True, blank=True)
    vocabulary = models.PositiveIntegerField(null=True, blank=True)
    architecture = models.CharField(max_length=80, blank=True)
    licence = models.CharField(max_length=80, blank=True)
    uses = models.JSONField(default=allow_all, blank=True)
    """Values of `Use` that its terms allow: to train it further, to distil from it, to evaluate it, to publish it.
    Those of the models that it comes from are not in here; `chanote.rights.terms` adds them up."""
    non_commercial = models.BooleanField(default=False)
    terms = models.CharField(max_length=300, blank=True)
    """Where its terms stand, such as the name of an agreement and the section."""
    description = models.TextField(blank=True)
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="children")
    """The model its training started from."""
    created = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)

    objects = VisibleQuerySet.as_manager()

    class Meta:
        ordering = ["-created"]
        constraints = [models.UniqueConstraint(fields=["project", "slug"], name="model_slug_unique_in_project")]

    def __str__(self) -> str:
        return self.slug

    def get_absolute_url(self) -> str:
        return reverse("model", args=[self.project.slug, self.slug])

    @property
    def hub_name(self) -> str:
        """`owner/model@commit` of a hub model, read from the cache's folder names; else empty."""
        found = HUB_SNAPSHOT.search(self.location) if self.origin == Origin.HUB else None
        return f"{found[1].replace('--', '/', 1)}@{found[2]}" if found else ""
