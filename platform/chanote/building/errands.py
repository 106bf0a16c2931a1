"""Builds as long work of the platform."""

from typing import Any

from django.db import transaction

from chanote.audit.services import record
from chanote.building.doing import Building
from chanote.building.endpoint import EndpointFailed
from chanote.building.kinds import find_kinds
from chanote.building.models import Build
from chanote.errands.kinds import errand
from chanote.errands.work import Work, WorkRefused


@errand("building.build", permission="datasets.change")
def run_build(work: Work) -> dict[str, Any]:
    build = Build.objects.select_related("project").get(errand=work.errand)
    kind = find_kinds().get(build.kind)
    if kind is None:
        raise WorkRefused(f"This installation no longer knows builds of the kind {build.kind}.")
    with Building(build, work, kind.steps) as building:
        try:
            version = kind.build(building, kind.config_class.model_validate(build.config))
        except EndpointFailed as failed:
            raise WorkRefused(str(failed)) from failed
    with transaction.atomic():
        build.result = version
        build.save(update_fields=["result"])
        record("build.finished", build, actor=work.actor, dataset=version.reference, sha256=version.sha256)
    return {"dataset": version.reference, "rows": version.rows, "link": version.dataset.get_absolute_url()}
