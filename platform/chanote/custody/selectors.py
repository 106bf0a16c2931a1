"""Reads about bundles and packages."""

from typing import Any

from django.http import Http404

from chanote.accounts.models import Project
from chanote.custody.models import BundleExport, Package
from chanote.datasets.models import DatasetVersion
from chanote.datasets.selectors import find_version
from chanote.models.models import Model

HIGHEST = 2**31 - 1


def find_package(project: Project, number: int) -> Package:
    packages = Package.objects.select_related("uploaded_by", "decided_by", "version__dataset", "project")
    return _find(packages.filter(project=project), number)


def find_export(project: Project, number: int) -> BundleExport:
    return _find(BundleExport.objects.filter(project=project), number)


def _find(rows: Any, number: int) -> Any:
    row = rows.filter(pk=number).first() if number <= HIGHEST else None
    if row is None:
        raise Http404(f"There is no number {number}.")
    return row


def find_subject(project: Project, kind: str, name: str) -> Model | DatasetVersion | None:
    """The model of this name, or the dataset version by `slug@number`."""
    if kind == "model":
        return Model.objects.filter(project=project, slug=name).first()
    try:
        return find_version(project, name) if kind == "dataset" else None
    except DatasetVersion.DoesNotExist:
        return None
