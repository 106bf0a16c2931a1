"""Tags about rights for pages of other apps."""

from typing import Any

from django import template

from chanote.accounts.models import Project
from chanote.datasets.models import DatasetVersion
from chanote.rights.provenance import describe_provenance

register = template.Library()


@register.inclusion_tag("rights/_provenance.html")
def provenance(version: DatasetVersion, project: Project) -> dict[str, Any]:
    """The card with sources, parents, operation and exceptions of a version: {% provenance version project %}."""
    return {"provenance": describe_provenance(version), "project": project}
