"""`chanote run`: launch, follow and steer runs."""

import argparse
import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

from chanote.commands.answers import FAILED, NOT_FOUND, REFUSED, CommandEnd, print_answer


def add_parser(nouns: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser) -> None:
    verbs = nouns.add_parser("run", help="runs").add_subparsers(required=True, metavar="VERB")
    launch = verbs.add_parser("launch", parents=[common], help="launch a recipe")
    launch.add_argument("recipe", help="recipe, or recipe@revision")
    launch.add_argument("--name", default="")
    launch.add_argument("--seed", type=int, help="instead of the recipe's own")
    launch.add_argument("--wait", action="store_true", help="wait for the end; exit code 1 unless it finishes")
    launch.set_defaults(action=launch_recipe)
    show = verbs.add_parser("list", parents=[common], help="list runs, newest first")
    show.add_argument("--limit", type=int, default=30)
    show.set_defaults(action=list_runs)
    for name, action, words in (
        ("show", show_run, "state, progress and latest metrics of a run"),
        ("metrics", show_metrics, "latest value of every metric"),
        ("stop", steer, "save a checkpoint and end; can be resumed"),
        ("cancel", steer, "end without saving"),
        ("resume", steer, "go on from the newest checkpoint"),
        ("retry", steer, "start again from the beginning"),
    ):
        verb = verbs.add_parser(name, parents=[common], help=words)
        verb.add_argument("run", help="number, name or id")
        verb.set_defaults(action=action, verb=name)
    wait = verbs.add_parser("wait", parents=[common], help="wait for the end; exit code 1 unless it finishes")
    wait.add_argument("run")
    wait.set_defaults(action=wait_for_run)
    again = verbs.add_parser(
        "reproduce",
        parents=[common],
        help="launch a run's frozen recipe again, wait, compare every metric; exit code 1 where one deviates",
    )
    again.add_argument("run", help="number, name or id")
    again.add_argument("--against", metavar="RUN", help="launch nothing: compare with this run, which was launched so")
    again.set_defaults(action=reproduce)
    logs = verbs.add_parser("logs", parents=[common], help="print the newest attempt's output")
    logs.add_argument("run")
    logs.add_argument("-f", "--follow", action="store_true")
    logs.set_defaults(action=print_logs)


def _find(args: argparse.Namespace) -> tuple[Any, Any]:
    from chanote.commands.finding import find_actor, find_project, find_run

    actor = find_actor(args)
    return find_run(args.run, find_project(args, actor), actor), actor


def _describe(run: Any) -> dict[str, Any]:
    return {
        "number": run.number,
        "name": run.name,
        "state": run.state,
        "step": run.step,
        "total_steps": run.total_steps,
        "recipe": f"{run.revision.recipe.slug}@{run.revision.number}",
        "created": run.created,
        "started": run.started,
        "ended": run.ended,
        "fault": run.fault,
        "id": str(run.pk),
    }


def launch_recipe(args: argparse.Namespace) -> Any:
    from chanote.accounts.roles import require
    from chanote.commands.finding import find_actor, find_named, find_project
    from chanote.recipes.models import Recipe
    from chanote.runs.services import LaunchRefused, launch_run
    from chanote.web.numbers import read_number

    actor = find_actor(args)
    project = find_project(args, actor)
    require(actor, "runs.launch", project)
    name, named, number = args.recipe.partition("@")
    recipe = find_named(Recipe.objects.visible_to(actor).filter(project=project), "recipe", name)
    revisions = recipe.revisions.all()
    revision = revisions.filter(number=read_number(number) or 0).first() if named else revisions.first()
    if revision is None:
        raise CommandEnd(f"{name} has no revision {number or 'yet'}.", NOT_FOUND)
    try:
        run = launch_run(revision=revision, owner=actor, name=args.name, seed=args.seed)
    except LaunchRefused as refusal:
        problems = [{"field": problem.field, "message": problem.message} for problem in refusal.problems]
        raise CommandEnd("The run was not launched.", REFUSED, problems) from refusal
    if args.wait:
        return _wait(run, as_json=args.json)
    return _describe(run)


def list_runs(args: argparse.Namespace) -> list[dict[str, Any]]:
    from chanote.commands.finding import find_actor, find_project
    from chanote.runs.models import Run

    actor = find_actor(args)
    runs = Run.objects.visible_to(actor).filter(project=find_project(args, actor)).select_related("revision__recipe")
    fields = ("number", "name", "state", "step", "total_steps", "recipe", "created")
    return [{key: _describe(run)[key] for key in fields} for run in runs[: args.limit]]


def show_run(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.runs.energy import read_energy

    run, _ = _find(args)
    attempts = list(run.attempts.all())
    energy = read_energy(attempts).facts()
    return {**_describe(run), "attempts": len(attempts), "energy": energy, "metrics": _metrics(run)}


def show_metrics(args: argparse.Namespace) -> dict[str, Any]:
    run, _ = _find(args)
    return _metrics(run)


def _metrics(run: Any) -> dict[str, Any]:
    return {series.key: series.last_value for series in run.series.all()}


def steer(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.accounts.roles import require
    from chanote.runs import services

    run, actor = _find(args)
    require(actor, "runs.launch", run.project)
    try:
        getattr(services, f"{args.verb}_run")(run, actor=actor)
    except services.RunRefused as refusal:
        raise CommandEnd(str(refusal), REFUSED) from refusal
    run.refresh_from_db()
    return _describe(run)


def wait_for_run(args: argparse.Namespace) -> int:
    run, _ = _find(args)
    return _wait(run, as_json=args.json)


def _wait(run: Any, *, as_json: bool) -> int:
    from chanote.runs.models import State

    _wait_for_end(run)
    print_answer(_describe(run), as_json=as_json)
    return 0 if run.state == State.FINISHED else FAILED


def _wait_for_end(run: Any) -> None:
    while run.is_active:
        time.sleep(0.5)
        run.refresh_from_db()


def reproduce(args: argparse.Namespace) -> int:
    """0: every metric is the same to the last bit; 1: one deviates, or the second run did not come as far."""
    from chanote.commands.finding import find_run
    from chanote.runs import services
    from chanote.runs.models import State
    from chanote.runs.reproduction import compare_metrics

    run, actor = _find(args)
    if args.against:
        again = find_run(args.against, run.project, actor)
        if again.pk == run.pk or again.snapshot["recipe"] != run.snapshot["recipe"]:
            raise CommandEnd(f"{again.name} is no second run of the frozen recipe of {run.name}.", REFUSED)
    else:
        try:
            again = services.reproduce_run(run, owner=actor)
        except services.RunRefused as refusal:
            raise CommandEnd(str(refusal), REFUSED) from refusal
        except services.LaunchRefused as refusal:
            problems = [{"field": problem.field, "message": problem.message} for problem in refusal.problems]
            raise CommandEnd(f"{run.name} cannot be reproduced here and now.", REFUSED, problems) from refusal
        print(
            f"Launched run {again.number}. If this command is interrupted the run goes on; compare later with: "
            f"chanote run reproduce {run.number} --against {again.number}",
            file=sys.stderr,
            flush=True,
        )
    _wait_for_end(again)
    compared = compare_metrics(run, again)
    came_as_far = again.state == State.FINISHED or (run.state != State.FINISHED and again.step >= run.step)
    answer: dict[str, Any] = {
        "run": run.number,
        "again": again.number,
        "state": again.state,
        "same": compared.deviation is None and came_as_far,
        "metrics": compared.keys,
        "values": compared.points,
        "last_step": compared.last_step,
        "fault": again.fault,
        "deviation": dataclasses.asdict(compared.deviation) if compared.deviation else None,
        "surroundings": compared.surroundings,
    }
    if args.json:
        print_answer(answer, as_json=True)
    else:
        _print_reproduction(answer)
    return 0 if answer["same"] else FAILED


def _print_reproduction(answer: dict[str, Any]) -> None:
    compared = f"{answer['metrics']} metrics, {answer['values']:,} values, up to step {answer['last_step']:,}"
    if answer["same"]:
        print(f"Run {answer['again']} told what run {answer['run']} told, to the last bit: {compared}.")
    elif deviation := answer["deviation"]:
        print(f"Run {answer['again']} deviates from run {answer['run']} ({compared}). First at")
        print_answer(deviation | {name: _exactly(deviation[name]) for name in ("then", "now")}, as_json=False)
    if answer["fault"]:
        print(f"Run {answer['again']} {answer['state']}: {answer['fault']}")
    elif answer["state"] not in ("finished", "stopped"):
        print(f"Run {answer['again']} is {answer['state']}.")
    if answer["surroundings"]:
        print("What differs around them:")
        for line in answer["surroundings"]:
            print(f"  {line}")


def _exactly(value: float | None) -> str:
    """Every digit: two values that differ never look the same."""
    return "nothing" if value is None else repr(value)


def print_logs(args: argparse.Namespace) -> int:
    run, _ = _find(args)
    attempt = run.attempts.last()
    offsets = {"stdout.log": 0, "stderr.log": 0}
    while True:
        attempt.refresh_from_db()
        run.refresh_from_db()
        active = run.is_active
        for name, offset in offsets.items():
            path = Path(attempt.directory) / name
            if path.is_file():
                with path.open("rb") as file:
                    file.seek(offset)
                    text = file.read()
                offsets[name] = offset + len(text)
                print(text.decode("utf-8", errors="replace"), end="", flush=True)
        if not args.follow or not active:
            return 0
        time.sleep(0.5)
