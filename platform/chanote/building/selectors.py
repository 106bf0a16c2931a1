"""Reads about builds that count or look into their directories."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from django.db.models import QuerySet
from django.http import Http404

from chanote.accounts.models import Project
from chanote.building.funnel import read_dropped
from chanote.building.models import Build

HIGHEST = 2**31
SHOWN = 50
"""Dropped items on one page."""


def list_builds(project: Project) -> QuerySet[Build]:
    return Build.objects.filter(project=project).select_related("project", "errand", "result__dataset", "created_by")


def find_build(project: Project, number: int) -> Build:
    """Raises Http404."""
    found = list_builds(project).filter(pk=number).first() if number < HIGHEST else None
    if found is None:
        raise Http404(f"Project {project.slug} has no build {number}.")
    return found


def find_step(build: Build, name: str) -> dict[str, Any]:
    """What the funnel tells of a step. Raises Http404."""
    for step in build.funnel:
        if step["name"] == name:
            return dict(step)
    raise Http404(f"{build} has no step {name}.")


@dataclass(frozen=True)
class DroppedPage:
    items: list[dict[str, Any]]
    number: int
    has_next: bool


def read_dropped_page(build: Build, step: str, *, reason: str = "", number: int = 1) -> DroppedPage:
    """A page of what a step dropped, for one reason or for all."""
    first = (number - 1) * SHOWN
    found = list(islice(_choose(build, step, reason), first, first + SHOWN + 1))
    return DroppedPage(found[:SHOWN], number, len(found) > SHOWN)


def _choose(build: Build, step: str, reason: str) -> Iterator[dict[str, Any]]:
    for one in read_dropped(build.directory, step):
        if not reason or one["reason"] == reason:
            yield one
