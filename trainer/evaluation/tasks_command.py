"""`python -m trainer tasks`: the ready-made tasks, and reading those of lm-evaluation-harness."""

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from trainer.contract import ExitCode, TaskSpec
from trainer.contract.harness import HarnessError, load_task_yaml, read_harness_task
from trainer.contract.library import library_names, library_tasks, read_library_task


def main(argv: list[str]) -> int:
    """List the library's tasks, show one as YAML, or read a task of lm-evaluation-harness into ours."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.action(arguments))
    except HarnessError as error:
        print(f"trainer tasks: {error}", file=sys.stderr)
    except OSError as error:
        print(f"trainer tasks: {error.filename} cannot be read or written: {error.strerror}", file=sys.stderr)
    return ExitCode.INVALID_SPEC


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer tasks", description=main.__doc__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    verbs.add_parser("list", help="the tasks of the library").set_defaults(action=_list)
    show = verbs.add_parser("show", help="a task of the library as YAML")
    show.add_argument("name")
    show.set_defaults(action=_show)
    read = verbs.add_parser("read", help="a task file of lm-evaluation-harness")
    read.add_argument("file", type=Path)
    read.add_argument("--dataset", required=True, metavar="NAME", help="dataset here that holds its rows")
    read.add_argument("--out", type=Path, required=True, help="folder for the tasks, one YAML file each")
    read.set_defaults(action=_read)
    return parser


def _list(arguments: argparse.Namespace) -> int:
    tasks = library_tasks()
    width = max(map(len, tasks))
    for name, task in tasks.items():
        print(f"{name.ljust(width)}  {task.title}; rows: {task.dataset}")
    return ExitCode.FINISHED


def _show(arguments: argparse.Namespace) -> int:
    try:
        task = read_library_task(arguments.name)
    except KeyError:
        raise HarnessError(f"{arguments.name} is no task of the library: {', '.join(library_names())}") from None
    print(write_task(task), end="")
    return ExitCode.FINISHED


def _read(arguments: argparse.Namespace) -> int:
    """Tasks to files; what was not carried to stderr."""
    try:
        text = arguments.file.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise HarnessError(f"{arguments.file} is no text in UTF-8: {error}") from error
    found = read_harness_task(load_task_yaml(text), dataset=arguments.dataset)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for task in found.tasks:
        path = arguments.out / f"{task.task}.yaml"
        path.write_text(write_task(task), "utf-8")
        print(path)
    for sentence in found.told:
        print(sentence, file=sys.stderr)
    return ExitCode.FINISHED


def write_task(task: TaskSpec) -> str:
    """YAML of what differs from the defaults."""
    content: dict[str, Any] = task.model_dump(mode="json", exclude_defaults=True)
    return yaml.safe_dump(content, allow_unicode=True, sort_keys=False, width=100)
