"""Models: base checkpoints that people register and checkpoints that runs leave, with their lineage."""

from django.conf import settings
from django.db import models

from chanote.accounts.models import Project, slug_validator
from chanote.accounts.visibility import VisibleQuerySet


class Origin(models.TextChoices):
    DIRECTORY = "directory", "local directory"
    HUB = "hub", "hub name"
    RUN = "run", "made by a run"


class Model(models.Model):
    """A Hugging Face checkpoint that can start a run or stand on a board."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="models")
    slug = models.CharField(max_length=120, validators=[slug_validator])
    title = models.CharField(max_length=160, blank=True)
    origin = models.CharField(max_length=10, choices=Origin.choices)
    location = models.CharField(max_length=1000)
    """Directory with the files, or the hub name."""
    sha256 = models.CharField(max_length=64, db_index=True)
    """Hash over all files, as `trainer.contract.ModelFile.sha256`."""
    bytes = models.PositiveBigIntegerField(default=0)
    parameters = models.PositiveBigIntegerField(null=True, blank=True)
    context_length = models.PositiveIntegerField(null=True, blank=True)
    vocabulary = models.PositiveIntegerField(null=True, blank=True)
    architecture = models.CharField(max_length=80, blank=True)
    licence = models.CharField(max_length=80, blank=True)
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
