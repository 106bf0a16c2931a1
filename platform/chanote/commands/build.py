"""`chanote dataset build` and `chanote dataset builds`: data that is built by asking a model."""

import argparse
import json
from typing import Any

from chanote.commands.answers import REFUSED, USAGE, CommandEnd


def add_build_parser(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser
) -> None:
    build = verbs.add_parser("build", parents=[common], help="build data by asking a model; ends in a dataset version")
    build.add_argument("kind", help="such as autoif; an unknown one names those there are")
    build.add_argument("--name", default="", help="name of the resulting dataset")
    build.add_argument("--title", default="")
    build.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="a setting of the kind; JSON or words; repeatable",
    )
    build.add_argument("--wait", action="store_true", help="wait for the end and tell the progress")
    build.set_defaults(action=start)
    builds = verbs.add_parser("builds", parents=[common], help="list builds of data")
    builds.set_defaults(action=list_builds)


def start(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.building.services import BuildRefused, start_build
    from chanote.commands.errand import wait
    from chanote.commands.finding import find_actor, find_project

    actor = find_actor(args)
    project = find_project(args, actor)
    config: dict[str, Any] = {"name": args.name} if args.name else {}
    for pair in args.set:
        field, equals, value = pair.partition("=")
        if not equals:
            raise CommandEnd(f"--set {pair} is not FIELD=VALUE.", USAGE)
        config[field] = _read_value(value)
    try:
        build = start_build(project=project, kind=args.kind, config=config, title=args.title, actor=actor)
    except BuildRefused as refused:
        raise refuse(refused) from refused
    if args.wait:
        wait(build.errand)
        build.refresh_from_db()
    return describe(build)


def list_builds(args: argparse.Namespace) -> list[dict[str, Any]]:
    from chanote.building import selectors
    from chanote.commands.finding import find_actor, find_project

    return [describe(build) for build in selectors.list_builds(find_project(args, find_actor(args)))[:100]]


def describe(build: Any) -> dict[str, Any]:
    errand = build.errand
    return {
        "id": build.pk,
        "kind": build.kind,
        "title": build.title,
        "errand": errand.pk,
        "state": errand.state,
        "words": errand.words,
        "fault": errand.fault,
        "cost": errand.cost,
        "funnel": {step["name"]: {part: step.get(part) for part in ("in", "kept", "dropped")} for step in build.funnel},
        "result": build.result.reference if build.result else None,
    }


def refuse(refused: Any) -> CommandEnd:
    problems = [{"field": problem.field, "message": problem.message} for problem in refused.problems]
    return CommandEnd(str(refused), REFUSED, problems)


def _read_value(text: str) -> Any:
    """JSON where it is some; else the words as they stand."""
    try:
        return json.loads(text)
    except ValueError:
        return text
