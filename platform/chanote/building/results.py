"""The version in which a build ends: its rights, its licence, where it came from."""

from collections.abc import Iterable, Sequence
from typing import Any

from chanote.building.doing import Building
from chanote.building.models import TeacherEndpoint
from chanote.datasets.making import SourcedRow, join_licences, make_version, merge_languages
from chanote.datasets.models import DatasetVersion, Use
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
    endpoints: Iterable[str] = (),
    languages: Sequence[str] = (),
) -> DatasetVersion:
    """Make the version. Its rights are the strictest of what it was drawn from and of the endpoints that wrote in it.

    `operation` is completed by the endpoints as they were: their model, their licence, their terms.
    """
    writers = [find_writer(building, slug) for slug in dict.fromkeys(one for one in endpoints if one)]
    granted = [set(version.uses) for version in drawn_from] + [set(writer.uses) for writer in writers]
    uses = [use for use in Use.values if all(use in one for one in granted)]
    if not uses:
        raise WorkRefused(
            "Its sources and endpoints together no longer allow any use of the result; look at their rights and terms."
        )
    licences = [*(version.licence for version in drawn_from), *(writer.licence for writer in writers)]
    return make_version(
        project=building.project,
        slug=slug,
        kind=kind,
        rows=rows,
        drawn_from=drawn_from,
        operation={**operation, "endpoints": [describe_writer(writer) for writer in writers]},
        reason=reason,
        uses=uses,
        licence=join_licences(licences),
        languages=languages or merge_languages(drawn_from),
        actor=building.actor,
    )


def find_writer(building: Building, slug: str) -> TeacherEndpoint:
    found = TeacherEndpoint.objects.filter(project=building.project, slug=slug).first()
    if found is None:
        raise WorkRefused(f"The project has no endpoint {slug} any more; make it again and resume.")
    return found


def describe_writer(writer: TeacherEndpoint) -> dict[str, str]:
    return {
        "endpoint": writer.slug,
        "address": writer.base_url,
        "model": writer.model,
        "licence": writer.licence,
        "terms": writer.terms,
    }
