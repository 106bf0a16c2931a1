"""Recipes and their immutable revisions."""

from django.conf import settings
from django.db import models

from chanote.accounts.models import Project, slug_validator
from chanote.accounts.visibility import VisibleQuerySet


class Recipe(models.Model):
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="recipes")
    slug = models.CharField(max_length=80, validators=[slug_validator])
    title = models.CharField(max_length=160)
    from_library = models.CharField(max_length=80, blank=True)
    """Name of the library recipe it began as; empty when written here."""
    created = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)

    objects = VisibleQuerySet.as_manager()

    class Meta:
        ordering = ["slug"]
        constraints = [models.UniqueConstraint(fields=["project", "slug"], name="recipe_slug_unique_in_project")]

    def __str__(self) -> str:
        return self.slug


class RevisionQuerySet(VisibleQuerySet):
    project_path = "recipe__project"


class Revision(models.Model):
    """What people wrote, beside what it resolves to. Never changed; a correction is the next revision."""

    recipe = models.ForeignKey(Recipe, on_delete=models.CASCADE, related_name="revisions")
    number = models.PositiveIntegerField()
    yaml = models.TextField()
    resolved = models.JSONField()
    """The full `trainer.contract.Recipe` with every default written out."""
    sha256 = models.CharField(max_length=64)
    message = models.CharField(max_length=300, blank=True)
    created = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)

    is_new: bool = False
    """Set by `save_revision` on the revision that it made."""

    objects = RevisionQuerySet.as_manager()

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["recipe", "number"], name="revision_number_unique_in_recipe")]

    def __str__(self) -> str:
        return f"{self.recipe.slug}, revision {self.number}"

    @property
    def project(self) -> Project:
        return self.recipe.project
