"""Ready-made tasks for public test sets: one YAML file each, a `TaskSpec` as it stands. A new file is a new task.

Each names the dataset that `chanote dataset import-shared` makes of the public data; the rows are not here.
"""

from pathlib import Path

import yaml

from trainer.contract.tasks import TaskSpec

FOLDER = Path(__file__).parent


def library_tasks() -> dict[str, TaskSpec]:
    """Every task of the library by its name, in alphabetical order."""
    return {name: read_library_task(name) for name in library_names()}


def library_names() -> list[str]:
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def read_library_task(name: str) -> TaskSpec:
    """Raises KeyError for a name that the library does not have."""
    if name not in library_names():
        raise KeyError(name)
    return TaskSpec.model_validate({"task": name, **yaml.safe_load((FOLDER / f"{name}.yaml").read_text("utf-8"))})
