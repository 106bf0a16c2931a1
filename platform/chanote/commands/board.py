"""`chanote board`: what the boards say."""

import argparse
from pathlib import Path
from typing import Any

from chanote.commands.answers import NOT_FOUND, REFUSED, CommandEnd, print_answer
from chanote.commands.judging import add_verbs


def add_parser(nouns: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser) -> None:
    verbs = nouns.add_parser("board", help="boards").add_subparsers(required=True, metavar="VERB")
    show = verbs.add_parser("list", parents=[common], help="list boards")
    show.set_defaults(action=list_boards)
    one = verbs.add_parser("show", parents=[common], help="estimates, intervals, ranks and verdicts of a board")
    one.add_argument("name")
    one.add_argument("--baseline", default="", help="model that the others are compared with")
    one.add_argument(
        "--clean", choices=["questions", "sources"], default="", help="leave out items that are in training data"
    )
    one.set_defaults(action=show_board)
    take = verbs.add_parser("import", parents=[common], help="import a result file of another harness")
    take.add_argument("name")
    take.add_argument("file", type=Path)
    take.add_argument("--beside", type=Path, help="results_*.json of lm-evaluation-harness or lighteval")
    take.add_argument("--model", default="", help="what the model is called here; else as the file names it")
    take.set_defaults(action=import_file)
    freeze = verbs.add_parser("freeze", parents=[common], help="keep a board as it stands, to cite it")
    freeze.add_argument("name")
    freeze.add_argument("--reason", default="", help="what it is frozen for")
    freeze.add_argument(
        "--clean", choices=["questions", "sources"], default="", help="leave out items that are in training data"
    )
    freeze.set_defaults(action=freeze_named)
    move = verbs.add_parser("point", parents=[common], help="point an alias at a model, if its guard board lets it")
    move.add_argument("alias")
    move.add_argument("model")
    move.set_defaults(action=point_alias)
    add = verbs.add_parser("add", parents=[common], help="put samples of `trainer evaluate` on a board")
    add.add_argument("name")
    add.add_argument("samples", type=Path, help="a file below evaluations/ of its output folder")
    add.add_argument("--task", required=True, help="SLUG or SLUG@NUMBER: the task that was evaluated")
    add.add_argument("--model", required=True, help="the project's name of the model that answered")
    add.add_argument("--toolset", default="", help="NAME@REVISION of the tools that an agent had")
    add.set_defaults(action=add_samples)
    add_verbs(verbs, common)


def list_boards(args: argparse.Namespace) -> list[dict[str, Any]]:
    from chanote.boards.models import Board
    from chanote.boards.selectors import boards_with_counts
    from chanote.commands.finding import find_actor, find_project

    actor = find_actor(args)
    boards = boards_with_counts(Board.objects.visible_to(actor).filter(project=find_project(args, actor)))
    return [{"name": board.slug, "title": board.title, "question": board.question} for board in boards]


def show_board(args: argparse.Namespace) -> Any:
    from chanote.boards.cleaning import Clean
    from chanote.boards.models import Board
    from chanote.boards.selectors import describe_board, read_board
    from chanote.commands.finding import find_actor, find_named, find_project

    actor = find_actor(args)
    project = find_project(args, actor)
    board = find_named(Board.objects.visible_to(actor).filter(project=project), "board", args.name)
    described = describe_board(read_board(board, baseline=args.baseline, clean=Clean(args.clean)))
    if args.json:
        return described
    for task in described:
        _print_task(task)
    return 0


def import_file(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.accounts.roles import require
    from chanote.boards.imports import import_results
    from chanote.boards.models import Board
    from chanote.boards.services import BoardError
    from chanote.commands.finding import find_actor, find_named, find_project

    actor = find_actor(args)
    project = find_project(args, actor)
    require(actor, "boards.change", project)
    board = find_named(Board.objects.filter(project=project), "board", args.name)
    try:
        made = import_results(
            board=board,
            name=args.file.name,
            data=args.file.read_bytes(),
            beside=args.beside.read_bytes() if args.beside else None,
            model=args.model,
            actor=actor,
        )
    except OSError as error:
        raise CommandEnd(f"{error.filename} cannot be read: {error.strerror}.", REFUSED) from error
    except BoardError as error:
        raise CommandEnd(f"{error}.", REFUSED) from error
    scores = made.evaluations.select_related("task", "model")
    return {
        "file": made.name,
        "sha256": made.sha256,
        "format": made.format,
        "tasks": sorted({one.task.reference for one in scores}),
        "models": sorted({one.model.slug for one in scores}),
        "skipped": len(made.skipped),
        "notes": made.notes,
    }


def freeze_named(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.accounts.roles import require
    from chanote.boards.cleaning import Clean
    from chanote.boards.models import Board
    from chanote.boards.services import BoardError
    from chanote.boards.snapshots import freeze_board
    from chanote.commands.finding import find_actor, find_named, find_project

    actor = find_actor(args)
    project = find_project(args, actor)
    require(actor, "boards.change", project)
    board = find_named(Board.objects.visible_to(actor).filter(project=project), "board", args.name)
    try:
        made = freeze_board(board, reason=args.reason, clean=Clean(args.clean), actor=actor)
    except BoardError as error:
        raise CommandEnd(f"{error}.", REFUSED) from error
    return {"board": board.slug, "snapshot": made.number, "sha256": made.sha256}


def point_alias(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.accounts.roles import require
    from chanote.boards.aliases import move_alias
    from chanote.boards.models import Alias
    from chanote.boards.services import BoardError
    from chanote.commands.finding import find_actor, find_named, find_project
    from chanote.models.models import Model

    actor = find_actor(args)
    project = find_project(args, actor)
    require(actor, "boards.change", project)
    alias = Alias.objects.filter(project=project, name=args.alias).first()
    if alias is None:
        raise CommandEnd(f"No alias is called {args.alias}; make it on the page Boards, Aliases.", NOT_FOUND)
    model = find_named(Model.objects.filter(project=project), "model", args.model)
    try:
        report = move_alias(alias, model, actor=actor)
    except BoardError as error:
        raise CommandEnd(str(error) if str(error).endswith(".") else f"{error}.", REFUSED) from error
    outcomes = {one.task.reference: one.outcome.value for one in report.found}
    return {"alias": alias.name, "model": model.slug, "against": report.against, "guard": outcomes}


def add_samples(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.accounts.roles import require
    from chanote.boards.models import Board, Task
    from chanote.boards.naming import find_task
    from chanote.boards.services import BoardError, import_evaluation
    from chanote.commands.finding import find_actor, find_named, find_project
    from chanote.models.models import Model

    actor = find_actor(args)
    project = find_project(args, actor)
    require(actor, "boards.change", project)
    board = find_named(Board.objects.filter(project=project), "board", args.name)
    model = find_named(Model.objects.filter(project=project), "model", args.model)
    try:
        evaluation = import_evaluation(
            task=find_task(project, args.task),
            model=model,
            samples_path=args.samples,
            board=board,
            toolset={"name": args.toolset} if args.toolset else None,
            actor=actor,
        )
    except Task.DoesNotExist as error:
        raise CommandEnd(f"{error}.", NOT_FOUND) from error
    except BoardError as error:
        raise CommandEnd(f"{error}.", REFUSED) from error
    return {
        "evaluation": evaluation.pk,
        "task": evaluation.task.reference,
        "model": model.slug,
        "board": board.slug,
        "mean": evaluation.mean,
        "items": evaluation.count,
        "left_out": evaluation.left_out,
    }


def _print_task(task: dict[str, Any]) -> None:
    """What the board says of one task, and a line for each model with its 95 % interval."""
    from chanote.boards.snapshots import word_left_out

    print(f"{task['task']}, {task['metric']}, {'more' if task['higher_is_better'] else 'less'} is better")
    for sentence in [*task["headline"], *([task["judging"]["sentence"]] if task["judging"] else [])]:
        print(f"  {sentence}")
    if left_out := word_left_out(task):
        print(f"  {left_out}")
    print_answer(
        [
            {
                "rank": "–".join(str(place) for place in dict.fromkeys(one["rank"] or [])),
                "model": one["model"],
                "estimate": one["estimate"],
                "low": one["low"],
                "high": one["high"],
                "items": one["items"],
                "failed": f"{100 * one['failed_share']:.0f} %",
                **_describe_agent(one),
            }
            for one in task["models"]
        ],
        as_json=False,
    )
    print()


def _describe_agent(model: dict[str, Any]) -> dict[str, Any]:
    """What an agent took; nothing for other tasks."""
    found = model.get("episodes")
    if not found:
        return {}
    return {
        "left out": model["left_out"],
        "turns": f"{found['turns']:.1f}",
        "tool errors": f"{found['tool_errors'] + found['malformed_calls']} of {found['calls_in_all']}",
        "cost": "" if found["cost"] is None else f"{found['cost']:.4f}",
    }
