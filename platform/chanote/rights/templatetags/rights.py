"""Tags about rights for pages of other apps."""

from typing import Any

from django import template

from chanote.accounts.models import Project
from chanote.datasets.models import DatasetVersion, Use
from chanote.rights.provenance import describe_provenance
from chanote.rights.rules import judge_version

register = template.Library()


@register.inclusion_tag("rights/_provenance.html")
def provenance(version: DatasetVersion, project: Project) -> dict[str, Any]:
    """The card with sources, parents, operation and exceptions of a version: {% provenance version project %}."""
    return {"provenance": describe_provenance(version), "project": project}


@register.inclusion_tag("rights/_ended.html")
def ended_rights(version: DatasetVersion) -> dict[str, Any]:
    """What ended the rights that a version was made with, for a card of its uses: {% ended_rights version %}."""
    rules = ("withdrawn", "withdrawn_row", "withdrawn_corpus", "expired")
    return {"refusals": [one for one in judge_version(version, Use.EVALUATE).refusals if one.rule in rules]}
