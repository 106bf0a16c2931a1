"""Training again without what was withdrawn: versions without those rows, and a draft of the recipe that names them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from chanote.accounts.models import Project
from chanote.accounts.roles import require
from chanote.datasets.errors import ImportRefused
from chanote.datasets.making import SourcedRow, make_version, read_sourced_rows
from chanote.datasets.models import DatasetVersion
from chanote.datasets.selectors import find_version
from chanote.errands.models import ACTIVE, Errand
from chanote.errands.services import start_errand
from chanote.recipes.models import Recipe, Revision
from chanote.recipes.services import RecipeRefused, save_revision
from chanote.recipes.yaml_text import parse_yaml
from chanote.recipes.yaml_writing import rewrite
from chanote.rights.exceptions import RightsRefused
from chanote.rights.models import Source
from chanote.rights.rows import find_withdrawn_rows
from chanote.rights.rules import read_sources_of
from chanote.web.problems import Problem

RETRAIN = "rights.retrain"
MESSAGE = "Draft without withdrawn rows: "
ROWS_PER_REPORT = 200
Report = Callable[[int, int, str], None]
"""Rows written, rows in all, what is being done."""


@dataclass
class Draft:
    """What was made. `left` are sentences on what a person must still do."""

    revision: Revision
    versions: dict[str, DatasetVersion] = field(default_factory=dict)
    """Old reference → new version."""
    left: list[str] = field(default_factory=list)


def start_retraining(recipe: Recipe, *, sources: list[Source] | None = None, actor: Any) -> Errand:
    """Queue the draft of a recipe's next revision without these sources and without what was withdrawn.

    Whoever asks twice gets one errand. Raises RightsRefused for a recipe without a revision, PermissionDenied.
    """
    project = recipe.project
    require(actor, "recipes.change", project)
    require(actor, "datasets.change", project)
    wanted = sorted(source.pk for source in sources or [])
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=project.pk)
        newest = recipe.revisions.order_by("-number").first()
        if newest is None:
            raise RightsRefused(Problem("recipe", f"{recipe.slug} has no revision yet."))
        config = {"recipe": recipe.pk, "after": newest.number, "sources": wanted}
        same = Errand.objects.filter(project=project, kind=RETRAIN, config=config, state__in=ACTIVE).first()
        return same or start_errand(
            RETRAIN, project=project, actor=actor, config=config, subject=recipe,
            title=f"Draft {recipe.slug} without withdrawn rows",
        )  # fmt: skip


def draft_without(
    recipe: Recipe,
    *,
    sources: list[Source] | None = None,
    actor: Any,
    after: int | None = None,
    report: Report | None = None,
) -> Draft:
    """The next revision of a recipe, without the rows of these sources and without any that was withdrawn.

    Makes a version without them of every dataset that the newest revision names and that holds some; a version that
    was made before is taken again, and so is a draft that follows revision `after` directly. Nothing is launched.
    Raises RightsRefused where nothing is to be left out or nothing would be left, PermissionDenied.
    """
    project = recipe.project
    require(actor, "recipes.change", project)
    require(actor, "datasets.change", project)
    newest = recipe.revisions.order_by("-number").first()
    if newest is None:
        raise RightsRefused(Problem("recipe", f"{recipe.slug} has no revision yet."))
    if after is not None and newest.number == after + 1 and newest.message.startswith(MESSAGE):
        return Draft(newest, left=_list_left(newest))
    data = parse_yaml(newest.yaml).data
    replaced: dict[str, str] = {}
    versions: dict[str, DatasetVersion] = {}
    for name in _list_names(newest.resolved):
        try:
            version = find_version(project, name)
        except DatasetVersion.DoesNotExist:
            continue
        if version.reference not in versions and (
            made := make_without(version, sources=sources, actor=actor, report=report)
        ):
            versions[version.reference] = made
        if version.reference in versions:
            replaced[name] = versions[version.reference].reference
    if not replaced:
        raise RightsRefused(
            Problem("recipe", f"No dataset that {recipe.slug} names holds such rows; launch it as it is.")
        )
    text = rewrite(newest.yaml, _replace_names(data, replaced)).text
    told = ", ".join(f"{old} by {made.reference}" for old, made in versions.items())
    try:
        revision = save_revision(
            project=project, slug=recipe.slug, yaml=text, message=f"{MESSAGE}{told}"[:300],
            author=actor,
        )  # fmt: skip
    except RecipeRefused as refused:
        raise RightsRefused(*refused.problems) from refused
    return Draft(revision, versions, _list_left(newest))


def _list_left(revision: Revision) -> list[str]:
    if not revision.resolved.get("toolset"):
        return []
    return ["Look at its toolset: if its corpus holds such rows, save a revision of it with another corpus."]


def make_without(
    version: DatasetVersion, *, sources: list[Source] | None = None, actor: Any, report: Report | None = None
) -> DatasetVersion | None:
    """The version without the rows of these sources, of withdrawn sources, and without withdrawn rows; None when it
    holds none. It becomes the next of its dataset, or is the one that was made so before."""
    wanted = {source.pk for source in sources or []}
    gone = {one.source.pk: one.source.slug for one in read_sources_of(version)}
    gone = {key: slug for key, slug in gone.items() if key in wanted or _is_withdrawn(key)}
    numbers = {number for number, _ in find_withdrawn_rows(version)}
    if not gone and not numbers:
        return None
    operation = {
        "name": "without",
        "of": version.reference,
        "sources": sorted(gone.values()),
        "rows": sorted(numbers),
    }
    made = version.drawn_into.filter(operation=operation, dataset=version.dataset).order_by("-number").first()
    if made is not None:
        return made
    leave_out = ", ".join(
        [*(f"source {slug}" for slug in sorted(gone.values())), *(f"row {n:,}" for n in sorted(numbers))]
    )
    try:
        return make_version(
            project=version.dataset.project,
            slug=version.dataset.slug,
            kind=version.dataset.kind,
            rows=_leave_out(version, gone, numbers, report),
            drawn_from=[version],
            operation=operation,
            reason=f"{version.reference} without {leave_out}"[:500],
            actor=actor,
        )
    except ImportRefused as refused:
        raise RightsRefused(
            Problem("recipe", f"Nothing of {version.reference} is left without {leave_out}; name another dataset. "
                    f"{refused}")
        ) from refused  # fmt: skip


def _leave_out(
    version: DatasetVersion, gone: Mapping[int, str], numbers: set[int], report: Report | None
) -> Iterator[SourcedRow]:
    for number, (row, source) in enumerate(read_sourced_rows(version), start=1):
        if report is not None and number % ROWS_PER_REPORT == 0:
            report(number, version.rows, f"writing {version.dataset.slug} without them")
        if source not in gone and number not in numbers:
            yield row, source


def _is_withdrawn(key: int) -> bool:
    return Source.objects.filter(pk=key, withdrawn__isnull=False).exists()


def _list_names(resolved: dict[str, Any]) -> list[str]:
    """Every dataset that the stages name, as they name it."""
    return [
        source["dataset"]
        for stage in resolved.get("stages", [])
        for sources in stage.values()
        if isinstance(sources, list)
        for source in sources
        if isinstance(source, dict) and source.get("dataset")
    ]


def _replace_names(value: Any, replaced: Mapping[str, str]) -> Any:
    """The data with the names below `dataset` replaced."""
    if isinstance(value, dict):
        return {
            key: replaced.get(inner, inner) if key == "dataset" and isinstance(inner, str)
            else _replace_names(inner, replaced)
            for key, inner in value.items()
        }  # fmt: skip
    if isinstance(value, list):
        return [_replace_names(inner, replaced) for inner in value]
    return value


def find_recipes_using(project: Project, versions: list[DatasetVersion]) -> list[Recipe]:
    """Recipes whose newest revision names one of these versions, by number or as the newest."""
    found = []
    keys = {version.pk for version in versions}
    for recipe in Recipe.objects.filter(project=project).prefetch_related("revisions"):
        newest = recipe.revisions.first()
        for name in _list_names(newest.resolved) if newest else []:
            try:
                if find_version(project, name).pk in keys:
                    found.append(recipe)
                    break
            except DatasetVersion.DoesNotExist:
                continue
    return found
