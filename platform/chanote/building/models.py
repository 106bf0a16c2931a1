"""Endpoints that may be asked, and builds: data made from data, step by step."""

from pathlib import Path

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.urls import reverse

from chanote.accounts.models import Project, slug_validator
from chanote.accounts.visibility import VisibleQuerySet
from chanote.datasets.models import DatasetVersion
from chanote.errands.models import Errand
from trainer.contract.addresses import is_address


def check_address(value: str) -> None:
    if not is_address(value, with_path=True):
        raise ValidationError("It is no address like http://127.0.0.1:8000/v1, with neither a password nor a query.")


class TeacherEndpoint(models.Model):
    """A model behind an OpenAI-compatible chat endpoint that may write data for the project.

    Its key is in a file of the installation (chanote.building.keys), never in the database.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="endpoints")
    slug = models.CharField(max_length=80, validators=[slug_validator])
    base_url = models.CharField(max_length=300, validators=[check_address])
    """Up to and with `/v1`."""
    model = models.CharField(max_length=200)
    """Name by which the server knows the model."""
    has_key = models.BooleanField(default=False)
    concurrency = models.PositiveIntegerField(default=4, validators=[MinValueValidator(1), MaxValueValidator(256)])
    """Questions under way at a time."""
    seconds = models.FloatField(default=180.0, validators=[MinValueValidator(1), MaxValueValidator(3600)])
    """Of one attempt."""
    prompt_price = models.FloatField(default=0.0, validators=[MinValueValidator(0)])
    """Per million tokens sent."""
    completion_price = models.FloatField(default=0.0, validators=[MinValueValidator(0)])
    """Per million tokens received."""
    currency = models.CharField(max_length=8, blank=True)
    most_money = models.FloatField(null=True, blank=True, validators=[MinValueValidator(0.000001)])
    """A build that spent so much here asks no more; raising it lets it go on."""
    licence = models.CharField(max_length=80, blank=True)
    """SPDX expression for what the model writes, or LicenseRef-… where none fits."""
    uses = models.JSONField(default=list)
    """Values of `Use` that the owner of the model allows for what it writes."""
    terms = models.TextField(blank=True)
    """In words, or where they are."""
    created = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)

    objects = VisibleQuerySet.as_manager()

    class Meta:
        ordering = ["slug"]
        constraints = [models.UniqueConstraint(fields=["project", "slug"], name="endpoint_slug_unique_in_project")]

    def __str__(self) -> str:
        return self.slug


class Build(models.Model):
    """One way from data to new data. The errand works on it and is its state."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="builds")
    errand = models.OneToOneField(Errand, on_delete=models.CASCADE, related_name="build")
    kind = models.CharField(max_length=40)
    """Name in the registry of chanote.building.kinds."""
    title = models.CharField(max_length=160)
    config = models.JSONField(default=dict)
    """As the kind's config class resolved it."""
    funnel = models.JSONField(default=list)
    """One entry for each step: name, title, what goes in, what was kept and dropped, and why."""
    result = models.ForeignKey(DatasetVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="built_by")
    created = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)

    objects = VisibleQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"build {self.pk}: {self.title}"

    def get_absolute_url(self) -> str:
        return reverse("build", args=[self.project.slug, self.pk])

    @property
    def directory(self) -> Path:
        """Replies, steps and dropped items."""
        return self.errand.directory
