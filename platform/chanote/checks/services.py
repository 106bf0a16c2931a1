"""Every write about checks that a person asks for."""

from collections.abc import Sequence
from typing import Any

from django.db import transaction
from pydantic import ValidationError

from chanote.accounts.models import Project
from chanote.accounts.roles import require
from chanote.audit.services import record
from chanote.checks.checkers import CHECKS
from chanote.checks.models import CheckSettings
from chanote.datasets.models import DatasetVersion
from chanote.errands.models import ACTIVE, Errand
from chanote.errands.services import start_errand
from chanote.web.problems import Problem, list_pydantic_problems

KIND = "checks.run"


class ChecksRefused(ValueError):
    """Nothing was done; `problems` says why, by field."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        super().__init__(" ".join(problem.message for problem in self.problems))


def start_checks(version: DatasetVersion, names: Sequence[str] = (), *, actor: Any) -> Errand:
    """Begin the named checks, all when none is named. While checks of the version run, their errand is returned.

    Raises ChecksRefused, and PermissionDenied for who may not.
    """
    if actor is not None:
        require(actor, "datasets.change", version.project)
    unknown = [name for name in names if name not in CHECKS]
    if unknown:
        raise ChecksRefused(
            [Problem("checks", f"There is no check {name[:40]!r}; there are {', '.join(CHECKS)}.") for name in unknown]
        )
    chosen = [name for name in CHECKS if not names or name in names]
    with transaction.atomic():
        # Two people who press the button at once get one errand.
        Project.objects.select_for_update().get(pk=version.project.pk)
        running = find_errand(version)
        if running and running.is_active:
            return running
        return start_errand(
            KIND,
            project=version.project,
            actor=actor,
            config={"version": version.pk, "checks": chosen},
            subject=version,
            title=f"Check {version.reference}",
        )


def find_errand(version: DatasetVersion) -> Errand | None:
    """The errand that checks a version now, else the last one that did."""
    errands = Errand.objects.filter(
        project=version.project, kind=KIND, subject_kind="datasetversion", subject_id=str(version.pk)
    )
    return errands.filter(state__in=ACTIVE).first() or errands.first()


@transaction.atomic
def set_check(project: Project, name: str, values: dict[str, Any], *, actor: Any) -> CheckSettings:
    """Set what a check of the project looks for. Results that are there stay; they say what they were made with.

    Raises ChecksRefused with every problem, and PermissionDenied.
    """
    require(actor, "datasets.change", project)
    if name not in CHECKS:
        raise ChecksRefused([Problem("check", f"There is no check {name[:40]!r}; there are {', '.join(CHECKS)}.")])
    try:
        chosen = CHECKS[name].settings_class.model_validate(values)
    except ValidationError as error:
        raise ChecksRefused(list_pydantic_problems(error)) from error
    kept, _ = CheckSettings.objects.update_or_create(
        project=project,
        check_name=name,
        defaults={"configuration": chosen.model_dump(mode="json", exclude_unset=True), "changed_by": actor},
    )
    record("checks.set", kept, actor=actor, check=name, configuration=kept.configuration)
    return kept
