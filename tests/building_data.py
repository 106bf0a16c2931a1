"""Builds of data for tests: versions from rows, endpoints that a script plays, builds done in the test's process."""

from typing import Any

from chanote.building.models import Build, TeacherEndpoint
from chanote.building.services import save_endpoint, start_build
from chanote.datasets.making import make_version, read_sourced_rows
from chanote.datasets.models import DatasetVersion
from chanote.errands.doing import do_here
from chanote.errands.services import resume_errand

USES = ("train", "distil", "evaluate")


def make_rows(
    project: Any, slug: str, kind: str, rows: list[dict[str, Any]], *, uses: Any = USES, licence: str = "CC-BY-4.0"
) -> DatasetVersion:
    return make_version(
        project=project,
        slug=slug,
        kind=kind,
        rows=[(row, None) for row in rows],
        drawn_from=[],
        operation={"name": "import"},
        reason="",
        uses=list(uses),
        licence=licence,
        actor=None,
    )


def make_endpoint(project: Any, actor: Any, url: str, slug: str = "teacher", **fields: Any) -> TeacherEndpoint:
    given = {"model": "big-model", "uses": ["train", "distil"], "licence": "Apache-2.0", "concurrency": 2, **fields}
    return save_endpoint(project=project, slug=slug, actor=actor, base_url=url, **given)


def do_build(project: Any, actor: Any, kind: str, **config: Any) -> Build:
    """Start a build and do it here."""
    build = start_build(project=project, kind=kind, config=config, actor=actor)
    do_here(build.errand)
    return read_again(build)


def do_again(build: Build, actor: Any) -> Build:
    resume_errand(build.errand, actor=actor)
    do_here(build.errand)
    return read_again(build)


def read_again(build: Build) -> Build:
    return Build.objects.select_related("errand", "result__dataset").get(pk=build.pk)


def rows_of(version: DatasetVersion | None) -> list[dict[str, Any]]:
    assert version is not None
    return [row for row, _ in read_sourced_rows(version)]


def reasons_of(build: Build, step: str) -> dict[str, int]:
    (told,) = [one for one in build.funnel if one["name"] == step]
    reasons: dict[str, int] = told["reasons"]
    return reasons
