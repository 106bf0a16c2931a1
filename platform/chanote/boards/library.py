"""The ready-made tasks as a project sees them: each with the rows that it reads, where the project has them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from chanote.accounts.models import Project
from chanote.boards.models import Task
from chanote.boards.services import freeze_task
from chanote.datasets.models import DatasetVersion
from chanote.datasets.selectors import find_version
from trainer.contract import TaskSpec
from trainer.contract.library import library_tasks, read_library_task


@dataclass(frozen=True)
class ReadyTask:
    spec: TaskSpec
    version: DatasetVersion | None
    """The newest rows of the project under the task's name for them."""
    frozen: Task | None
    """The newest task of this name in the project."""

    @property
    def written(self) -> str:
        """YAML of what differs from the defaults, with the field names of lm-evaluation-harness."""
        content = self.spec.model_dump(mode="json", exclude_defaults=True)
        return str(yaml.safe_dump(content, allow_unicode=True, sort_keys=False, width=100))


def list_ready_tasks(project: Project) -> list[ReadyTask]:
    """The whole library in alphabetical order, in a fixed number of queries."""
    return _join(project, library_tasks())


def find_ready_task(project: Project, name: str) -> ReadyTask:
    """Raises KeyError for a name that the library does not have."""
    return _join(project, {name: read_library_task(name)})[0]


def freeze_ready_task(project: Project, name: str, *, actor: Any) -> Task:
    """The library's task on the project's newest rows. Raises KeyError, DatasetVersion.DoesNotExist and BoardError."""
    spec = read_library_task(name)
    return freeze_task(
        project=project, definition=spec, dataset_version=find_version(project, spec.dataset), actor=actor
    )


def _join(project: Project, specs: Mapping[str, TaskSpec]) -> list[ReadyTask]:
    slugs = {spec.dataset for spec in specs.values()}
    versions = DatasetVersion.objects.filter(dataset__project=project, dataset__slug__in=slugs)
    newest = {one.dataset.slug: one for one in versions.select_related("dataset").order_by("number")}
    tasks = Task.objects.filter(project=project, slug__in=specs, dataset_version__isnull=False).order_by("number")
    frozen = {task.slug: task for task in tasks}
    return [ReadyTask(spec, newest.get(spec.dataset), frozen.get(name)) for name, spec in specs.items()]
