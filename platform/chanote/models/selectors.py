"""Reads about models."""

from pathlib import Path

from django.db.models import Count, QuerySet

from chanote.accounts.models import Project
from chanote.models.models import Model


def find_model(project: Project, slug: str) -> Model:
    """The model that a recipe names. Raises Model.DoesNotExist."""
    return Model.objects.get(project=project, slug=slug)


def models_with_counts(models: QuerySet[Model]) -> QuerySet[Model]:
    return models.select_related("parent").annotate(
        runs_count=Count("runs", distinct=True), evaluations_count=Count("evaluations", distinct=True)
    )


def has_files(model: Model) -> bool:
    """Whether the files of a model still lie where it says. Their content is checked when a run starts."""
    return (Path(model.location) / "config.json").is_file()
