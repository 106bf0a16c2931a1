"""Reads about toolsets that join or count."""

from dataclasses import dataclass

from django.db.models import Prefetch, QuerySet

from chanote.accounts.models import Project
from chanote.datasets.models import DatasetVersion, Kind
from chanote.runs.models import Run
from chanote.tools.models import Toolset, ToolsetRevision


def list_toolsets(toolsets: QuerySet[Toolset]) -> list[Toolset]:
    """Toolsets with their revisions at hand, the newest first, in two queries whatever their number."""
    revisions = ToolsetRevision.objects.select_related("corpus__dataset", "created_by").order_by("-number")
    return list(toolsets.select_related("project").prefetch_related(Prefetch("revisions", revisions)))


def runs_using(toolset: Toolset) -> QuerySet[Run]:
    """Runs whose frozen spec names any revision of the toolset, the newest first."""
    return Run.objects.filter(
        project=toolset.project, snapshot__toolset__name__startswith=f"{toolset.slug}@"
    ).select_related("owner")


@dataclass(frozen=True)
class CorpusChoice:
    reference: str
    label: str


def list_corpora(project: Project) -> list[CorpusChoice]:
    """Versions of the project's text datasets, by name and then the newest first."""
    versions = DatasetVersion.objects.filter(dataset__project=project, dataset__kind=Kind.TEXT)
    return [
        CorpusChoice(version.reference, f"{version.dataset.slug}, version {version.number} ({version.rows:,} rows)")
        for version in versions.select_related("dataset").order_by("dataset__slug", "-number")
    ]
