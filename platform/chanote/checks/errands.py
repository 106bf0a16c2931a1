"""Checks as an errand: they take minutes, may be stopped, and go on where they were."""

import shutil
from typing import Any

from chanote.checks.checkers import CHECKS
from chanote.checks.running import run_checks
from chanote.datasets.models import DatasetVersion
from chanote.datasets.storage import StoreError
from chanote.errands.kinds import errand
from chanote.errands.work import Work, WorkRefused


@errand("checks.run", permission="datasets.change")
def run(work: Work) -> dict[str, Any]:
    versions = DatasetVersion.objects.select_related("dataset__project")
    version = versions.get(pk=work.config["version"], dataset__project=work.project)
    names = [name for name in work.config["checks"] if name in CHECKS]
    scratch = work.directory / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        results = run_checks(version, names, actor=work.actor, scratch=scratch, report=work.report)
    except StoreError as error:
        raise WorkRefused(str(error)) from error
    return {
        "link": f"{version.dataset.get_absolute_url()}?tab=checks&version={version.number}",
        "found_rows": {result.check_name: result.found_rows for result in results},
    }
