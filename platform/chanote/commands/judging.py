"""`chanote board votes` and `chanote board rejudge`: what people say of judged answers, and another judge's word."""

import argparse
from pathlib import Path
from typing import Any

from chanote.commands.answers import NOT_FOUND, REFUSED, CommandEnd


def add_verbs(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser) -> None:
    votes = verbs.add_parser("votes", parents=[common], help="import votes of people on judged answers")
    votes.add_argument("name", help="the board")
    votes.add_argument("file", type=Path)
    votes.add_argument("--task", default="", help="SLUG@NUMBER of the judged task; else the board's only one")
    votes.add_argument("--model", default="", help="whose answers the votes are about, where the file does not say")
    votes.set_defaults(action=import_votes_file)
    again = verbs.add_parser("rejudge", parents=[common], help="judge stored answers again, by another task's judges")
    again.add_argument("name", help="the board")
    again.add_argument("--task", required=True, help="SLUG@NUMBER of the task that the answers were given to")
    again.add_argument("--by", required=True, help="SLUG@NUMBER of the task whose judges are asked")
    again.add_argument("--model", default="", help="only this model's answers; else those of all")
    again.set_defaults(action=rejudge)


def import_votes_file(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.boards.judging.services import import_votes
    from chanote.boards.services import BoardError

    board, one, actor = _find(args)
    try:
        made = import_votes(
            board=board,
            task=one.task,
            evaluations=one.evaluations,
            name=args.file.name,
            data=args.file.read_bytes(),
            model=args.model,
            actor=actor,
        )
    except OSError as error:
        raise CommandEnd(f"{error.filename} cannot be read: {error.strerror}.", REFUSED) from error
    except BoardError as error:
        raise CommandEnd(f"{error}.", REFUSED) from error
    return {"file": made.name, "task": one.task.reference, "taken": made.taken, "skipped": len(made.skipped)}


def rejudge(args: argparse.Namespace) -> list[dict[str, Any]]:
    from chanote.boards.judging.rejudging import rejudge_evaluation
    from chanote.boards.models import Task
    from chanote.boards.naming import find_task
    from chanote.boards.services import BoardError

    board, one, actor = _find(args)
    chosen = [evaluation for evaluation in one.evaluations if args.model in ("", evaluation.model.slug)]
    if not chosen:
        raise CommandEnd(f"The board has no answers of {args.model} to {one.task.reference}.", NOT_FOUND)
    told = []
    try:
        by = find_task(board.project, args.by)
        for evaluation in chosen:
            made = rejudge_evaluation(evaluation, by=by, board=board, actor=actor)
            told.append(
                {
                    "model": made.model.slug,
                    "task": by.reference,
                    "mean": made.mean,
                    "before": evaluation.mean,
                    "items": made.count,
                    "judge_failed": made.left_out,
                }
            )
    except Task.DoesNotExist as error:
        raise CommandEnd(f"{error}.", NOT_FOUND) from error
    except BoardError as error:
        raise CommandEnd(f"{error}.", REFUSED) from error
    return told


def _find(args: argparse.Namespace) -> tuple[Any, Any, Any]:
    """Board, judged task and acting person."""
    from chanote.accounts.roles import require
    from chanote.boards.judging.selectors import choose_task, find_judged_tasks
    from chanote.boards.models import Board
    from chanote.commands.finding import find_actor, find_named, find_project

    actor = find_actor(args)
    project = find_project(args, actor)
    require(actor, "boards.change", project)
    board = find_named(Board.objects.visible_to(actor).filter(project=project), "board", args.name)
    one = choose_task(find_judged_tasks(board), args.task)
    if one is None:
        raise CommandEnd(f"The board {board.slug} has no judged task {args.task}".rstrip() + ".", NOT_FOUND)
    return board, one, actor
