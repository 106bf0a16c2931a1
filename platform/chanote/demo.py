"""The demo: a made-up nation's code of law, its tiny base model, recipes, tasks, a board, and one run."""

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.conf import settings

from chanote.accounts.models import Project, User
from chanote.boards.models import Board, Task
from chanote.commands.answers import MACHINE, CommandEnd
from chanote.models.models import Model
from chanote.recipes.models import Recipe
from chanote.runs.models import Run
from trainer.contract import TaskSpec
from trainer.demoworld import catalogue
from trainer.demoworld.files import write_datasets

PROJECT = "demo"
AS_SHIPPED = "Part of the demo."


def load_demo(actor: User) -> Project:
    """Bring the demo's parts into their project; what is already there stays as it is."""
    from chanote.accounts.services import create_project
    from chanote.recipes.services import load_library

    project = Project.objects.filter(slug=PROJECT).first()
    if project is None:
        project = create_project(slug=PROJECT, name="Demo: a made-up nation's law", owner=actor)
    _load_datasets(project, actor)
    _load_base_model(project, actor)
    _load_tasks(project, actor)
    _load_boards(project, actor)
    load_library(project, actor)
    _load_toolset(project, actor)
    return project


def _load_toolset(project: Project, actor: User) -> None:
    """What people have changed stays theirs; what they have not becomes the demo's newest."""
    from chanote.tools.models import ToolsetRevision
    from chanote.tools.services import save_toolset

    entry = catalogue.TOOLSET
    newest = ToolsetRevision.objects.filter(toolset__project=project, toolset__slug=entry["slug"]).first()
    if newest is None or newest.message == AS_SHIPPED:
        save_toolset(project=project, author=actor, message=AS_SHIPPED, **entry)


def launch_demo(project: Project, actor: User) -> Run | None:
    """Launch the demo run unless the project already has a run of the demo recipe."""
    from chanote.runs.services import LaunchRefused, launch_run

    recipe = Recipe.objects.get(project=project, slug=catalogue.DEMO_RECIPE)
    if Run.objects.filter(revision__recipe=recipe).exists():
        return None
    try:
        return launch_run(revision=recipe.revisions.latest("number"), owner=actor, name="demo")
    except LaunchRefused as refusal:
        problems = [{"field": problem.field, "message": problem.message} for problem in refusal.problems]
        raise CommandEnd("The demo run cannot start.", MACHINE, problems) from refusal


def _load_datasets(project: Project, actor: User) -> None:
    from chanote.datasets.services import import_dataset

    missing = [entry for entry in catalogue.DATASETS if not project.datasets.filter(slug=entry["slug"]).exists()]
    if not missing:
        return
    with tempfile.TemporaryDirectory(prefix="chanote-demo-") as folder:
        files = write_datasets(Path(folder))
        for entry in missing:
            with Path(files[entry["slug"]].path).open("rb") as rows:
                version = import_dataset(
                    project=project,
                    file=rows,
                    format="jsonl",
                    actor=actor,
                    reason=AS_SHIPPED,
                    **_rights(entry),
                )
            version.dataset.description = entry["description"]
            version.dataset.save(update_fields=["description"])


def _rights(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: entry[key] for key in ("slug", "kind", "title", "languages", "licence", "source", "uses")}


def _load_base_model(project: Project, actor: User) -> None:
    """A base that came with an earlier version keeps its record, under a name with its hash: its runs name it."""
    from chanote.models.services import free_slug, register_directory
    from trainer.contract.hashing import hash_directory

    base = catalogue.BASE_MODEL
    directory = (settings.ASSETS / base["directory"]).resolve()
    present = Model.objects.filter(project=project, slug=base["slug"]).first()
    if present is not None:
        if present.location != str(directory) or present.sha256 == hash_directory(directory):
            return
        present.slug = free_slug(project, f"{present.slug}-{present.sha256[:8]}")
        present.save(update_fields=["slug"])
    register_directory(
        project=project,
        slug=base["slug"],
        path=str(directory),
        title=base["title"],
        licence=base["licence"],
        description=base["description"],
        actor=actor,
    )


def _load_tasks(project: Project, actor: User) -> None:
    from chanote.boards.services import freeze_task
    from chanote.datasets.selectors import find_version

    for entry in catalogue.TASKS:
        if not Task.objects.filter(project=project, slug=entry["task"]).exists():
            freeze_task(
                project=project,
                definition=TaskSpec.model_validate(entry),
                dataset_version=find_version(project, entry["dataset"]),
                actor=actor,
            )


def _load_boards(project: Project, actor: User) -> None:
    from chanote.boards.services import create_board, update_board

    entries: Iterable[dict[str, Any]] = catalogue.BOARDS
    for entry in entries:
        if Board.objects.filter(project=project, slug=entry["slug"]).exists():
            continue
        board = create_board(
            project=project, slug=entry["slug"], title=entry["title"], question=entry["question"], actor=actor
        )
        baseline = Model.objects.get(project=project, slug=entry["baseline"])
        update_board(board, title=board.title, question=board.question, baseline=baseline, actor=actor)
