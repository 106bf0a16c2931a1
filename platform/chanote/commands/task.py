"""`chanote task`: what models are asked, and the library of ready-made tasks."""

import argparse
import sys
from pathlib import Path
from typing import Any

from chanote.commands.answers import NOT_FOUND, REFUSED, CommandEnd


def add_parser(nouns: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser) -> None:
    verbs = nouns.add_parser("task", help="tasks: what models are asked and how they are scored").add_subparsers(
        required=True, metavar="VERB"
    )
    show = verbs.add_parser("list", parents=[common], help="list the project's tasks")
    show.set_defaults(action=list_tasks)
    library = verbs.add_parser("library", parents=[common], help="list the ready-made tasks")
    library.set_defaults(action=list_library)
    add = verbs.add_parser("add", parents=[common], help="freeze tasks in the project")
    add.add_argument("names", nargs="+", metavar="TASK", help="name in the library, or a YAML file, ours or lm-eval's")
    add.add_argument("--dataset", default="", help="dataset with the rows, in place of the one that the task names")
    add.set_defaults(action=add_tasks)


def list_tasks(args: argparse.Namespace) -> list[dict[str, Any]]:
    from chanote.boards.models import Task
    from chanote.commands.finding import find_actor, find_project

    actor = find_actor(args)
    tasks = Task.objects.visible_to(actor).filter(project=find_project(args, actor)).select_related("dataset_version")
    return [_describe(task) for task in tasks]


def list_library(args: argparse.Namespace) -> list[dict[str, Any]]:
    from trainer.contract.library import library_tasks

    return [
        {"name": name, "title": task.title, "metric": task.metric, "dataset": task.dataset}
        for name, task in library_tasks().items()
    ]


def add_tasks(args: argparse.Namespace) -> list[dict[str, Any]]:
    """All or none of them: what one refuses, the others do not leave half done."""
    from django.db import transaction

    from chanote.accounts.roles import require
    from chanote.boards.services import BoardError, freeze_task
    from chanote.commands.finding import find_actor, find_project
    from chanote.datasets.models import DatasetVersion
    from chanote.datasets.selectors import find_version

    actor = find_actor(args)
    project = find_project(args, actor)
    require(actor, "boards.change", project)
    definitions = [definition for name in args.names for definition in _read(name, args.dataset)]
    try:
        with transaction.atomic():
            return [
                _describe(
                    freeze_task(
                        project=project,
                        definition=definition,
                        dataset_version=find_version(project, definition.dataset),
                        actor=actor,
                    )
                )
                for definition in definitions
            ]
    except DatasetVersion.DoesNotExist as error:
        raise CommandEnd(
            f"{error} Import it first (`chanote dataset import`; what the library's tasks read comes with `chanote "
            "dataset import-shared`), or name another with --dataset.",
            NOT_FOUND,
        ) from error
    except BoardError as error:
        raise CommandEnd(f"{error}.", REFUSED) from error


def _read(name: str, dataset: str) -> list[Any]:
    from pydantic import ValidationError

    from trainer.contract import TaskSpec
    from trainer.contract.harness import HarnessError, is_harness_task, load_task_yaml, read_harness_task
    from trainer.contract.library import library_names, read_library_task

    if name in library_names():
        task = read_library_task(name)
        return [task.model_copy(update={"dataset": dataset}) if dataset else task]
    path = Path(name)
    if not path.is_file():
        raise CommandEnd(
            f"{name} is neither a file nor a task of the library, which has {', '.join(library_names())}.", NOT_FOUND
        )
    try:
        content = load_task_yaml(path.read_text(encoding="utf-8"))
        if not is_harness_task(content):
            return [TaskSpec.model_validate({**content, **({"dataset": dataset} if dataset else {})})]
        if not dataset:
            raise CommandEnd(f"{name} is a task of lm-evaluation-harness: name the rows with --dataset.", REFUSED)
        found = read_harness_task(content, dataset=dataset)
    except HarnessError as error:
        raise CommandEnd(f"{name}, {error}.", REFUSED) from error
    except (OSError, UnicodeDecodeError) as error:
        raise CommandEnd(f"{name} cannot be read: {error}.", NOT_FOUND) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CommandEnd(f"{name}: {where + ': ' if where else ''}{first['msg']}.", REFUSED) from error
    for sentence in found.told:
        print(sentence, file=sys.stderr)
    return found.tasks


def _describe(task: Any) -> dict[str, Any]:
    return {
        "name": task.reference,
        "title": task.title,
        "metric": task.definition["metric"],
        "dataset": task.dataset_version.reference,
        "sha256": task.sha256,
    }
