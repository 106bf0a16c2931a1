"""A task from a file, for the commands that take one. Imports no torch."""

from pathlib import Path

import yaml
from pydantic import ValidationError

from trainer.contract import TaskSpec


class CommandError(Exception):
    """The command line asks for something that is not there; the message says what and what to do."""


def read_task(path: Path) -> TaskSpec:
    """A task from YAML or JSON; raises CommandError naming file, field and fault."""
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise CommandError(f"--task {path} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise CommandError(f"--task {path} is neither YAML nor JSON: {error}") from error
    try:
        return TaskSpec.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CommandError(f"--task {path}: {where + ': ' if where else ''}{first['msg']}") from error
