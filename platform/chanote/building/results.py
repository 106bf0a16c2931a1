"""The version in which a build ends: its rights, its licence, where it came from."""

from collections.abc import Iterable, Sequence
from typing import Any

from chanote.accounts.models import Project
from chanote.building.doing import Building
from chanote.building.models import TeacherEndpoint
from chanote.datasets.making import SourcedRow, join_licences, make_version, merge_languages
from chanote.datasets.models import Dataset, DatasetVersion, Use
from chanote.errands.work import WorkRefused


def make_result(
    building: Building,
    *,
    slug: str,
    kind: str,
    rows: Iterable[SourcedRow],
    drawn_from: Sequence[DatasetVersion],
    operation: dict[str, Any],
    reason: str,
    source: str = "",
    endpoints: Iterable[str] = (),
    judges: Iterable[str] = (),
    languages: Sequence[str] = (),
) -> DatasetVersion:
    """Make the version. Its rights are the strictest of what it was drawn from and of the endpoints that wrote in it
    or judged what stays. Its licence joins those of sources and writers.

    `operation` is completed by the config, the counts of the steps, and the endpoints as they were: their model, their
    licence, their terms.
    """
    writers = [find_endpoint_row(building, name) for name in dict.fromkeys(filter(None, endpoints))]
    known = {writer.slug for writer in writers}
    others = [find_endpoint_row(building, name) for name in dict.fromkeys(filter(None, judges)) if name not in known]
    granted = [set(version.uses) for version in drawn_from] + [set(one.uses) for one in (*writers, *others)]
    uses = [use for use in Use.values if all(use in one for one in granted)]
    if not uses:
        raise WorkRefused(
            "Its sources and endpoints together no longer allow any use of the result; look at their rights and terms."
        )
    counts = {
        step.name: building.funnel.read_counts(step) or dict.fromkeys(("in", "kept", "dropped"), 0)
        for step in building.steps
    }
    licences = [*(version.licence for version in drawn_from), *(writer.licence for writer in writers)]
    return make_version(
        project=building.project,
        slug=slug,
        kind=kind,
        rows=rows,
        drawn_from=drawn_from,
        title=building.build.title if slug == building.build.config["name"] else "",
        operation={
            **operation,
            "build": building.build.pk,
            "config": building.build.config,
            "endpoints": [describe_endpoint(one) for one in (*writers, *others)],
            "steps": {name: {part: told[part] for part in ("in", "kept", "dropped")} for name, told in counts.items()},
        },
        reason=reason,
        source=source,
        uses=uses,
        licence=join_licences(licences),
        languages=languages or merge_languages(drawn_from),
        actor=building.actor,
    )


def describe_endpoint(endpoint: TeacherEndpoint) -> dict[str, Any]:
    """What a dataset's provenance keeps of a model that wrote it."""
    return {
        "slug": endpoint.slug,
        "address": endpoint.base_url,
        "model": endpoint.model,
        "licence": endpoint.licence,
        "uses": endpoint.uses,
        "terms": endpoint.terms,
    }


def find_clash(project: Project, slug: str, kind: str, *, made_from: str = "") -> str:
    """Why the result cannot have this name, found before anything is asked and paid for; empty when it can."""
    if made_from.partition("@")[0] == slug:
        return "The result cannot be a version of what it is made from; choose another name."
    there = Dataset.objects.filter(project=project, slug=slug).first()
    if there is not None and there.kind != kind:
        return f"The dataset {slug} holds {there.kind} rows, and the result holds {kind} rows; choose another name."
    return ""


def find_endpoint_row(building: Building, slug: str) -> TeacherEndpoint:
    found = TeacherEndpoint.objects.filter(project=building.project, slug=slug).first()
    if found is None:
        raise WorkRefused(f"The project has no endpoint {slug} any more; make it again and resume.")
    return found
