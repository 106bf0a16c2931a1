"""Long work on rows: the table that finds them, and versions of many rows."""

from typing import Any

from chanote.curation.changes import apply_changes
from chanote.curation.models import ChangeSet
from chanote.curation.services import CurationRefused
from chanote.datasets.features import prepare_features
from chanote.datasets.models import DatasetVersion
from chanote.errands.kinds import errand
from chanote.errands.work import Work, WorkRefused

INDEX, APPLY = "curation.index", "curation.apply"


@errand(INDEX, permission="projects.view")
def index_rows(work: Work) -> dict[str, Any]:
    version = DatasetVersion.objects.select_related("dataset").get(
        pk=work.config["version"], dataset__project=work.project
    )
    prepare_features(version, lambda done: work.report(done, version.rows, "looking at the rows"))
    return {"rows": version.rows, "link": version.dataset.get_absolute_url()}


@errand(APPLY, permission="datasets.change")
def apply_draft(work: Work) -> dict[str, Any]:
    """Started again after it was killed, it finds the draft applied already, or applies it whole."""
    change_set = ChangeSet.objects.select_related("version__dataset__project", "result").get(
        pk=work.config["change_set"], version__dataset__project=work.project
    )
    if change_set.result is None:
        work.report(0, change_set.version.rows, "writing the rows")
        try:
            change_set.result = apply_changes(change_set, reason=work.config["reason"], actor=work.actor)
        except CurationRefused as refused:
            raise WorkRefused(str(refused)) from refused
    return {"version": change_set.result.reference, "link": change_set.version.dataset.get_absolute_url()}
