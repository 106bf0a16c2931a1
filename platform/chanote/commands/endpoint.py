"""`chanote endpoint`: models behind chat endpoints that may write data for a project."""

import argparse
import os
from typing import Any

from chanote.commands.answers import NOT_FOUND, USAGE, CommandEnd
from chanote.commands.build import refuse


def add_parser(nouns: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser) -> None:
    verbs = nouns.add_parser("endpoint", help="models that write data").add_subparsers(required=True, metavar="VERB")
    verbs.add_parser("list", parents=[common], help="list endpoints").set_defaults(action=list_endpoints)
    save = verbs.add_parser("save", parents=[common], help="make an endpoint, or change the one of this name")
    save.add_argument("name")
    save.add_argument("--address", required=True, help="up to and with /v1")
    save.add_argument("--model", required=True, help="name by which the server knows the model")
    save.add_argument("--key-env", default="", help="take the key from this environment variable and store it")
    save.add_argument("--licence", default="", help="for what it writes: SPDX identifier")
    save.add_argument("--use", action="append", default=[], choices=["train", "distil", "evaluate", "publish"])
    save.add_argument("--terms", default="")
    save.add_argument("--concurrency", type=int, default=4)
    save.add_argument("--prompt-price", type=float, default=0.0, help="per million tokens sent")
    save.add_argument("--completion-price", type=float, default=0.0, help="per million tokens received")
    save.add_argument("--currency", default="")
    save.add_argument("--most-money", type=float, help="that one build may spend")
    save.set_defaults(action=save_one)
    remove = verbs.add_parser("remove", parents=[common], help="remove an endpoint and its key")
    remove.add_argument("name")
    remove.set_defaults(action=remove_one)


def list_endpoints(args: argparse.Namespace) -> list[dict[str, Any]]:
    from chanote.building.models import TeacherEndpoint
    from chanote.commands.finding import find_actor, find_project

    rows = TeacherEndpoint.objects.filter(project=find_project(args, find_actor(args)))
    return [_describe_endpoint(row) for row in rows]


def save_one(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.building.services import BuildRefused, save_endpoint
    from chanote.commands.finding import find_actor, find_project

    actor = find_actor(args)
    project = find_project(args, actor)
    key = None
    if args.key_env:
        key = os.environ.get(args.key_env, "").strip()
        if not key:
            raise CommandEnd(f"The environment variable {args.key_env} is empty; set it to the key.", USAGE)
    try:
        row = save_endpoint(
            project=project,
            slug=args.name,
            actor=actor,
            key=key,
            base_url=args.address,
            model=args.model,
            licence=args.licence,
            uses=args.use,
            terms=args.terms,
            concurrency=args.concurrency,
            prompt_price=args.prompt_price,
            completion_price=args.completion_price,
            currency=args.currency,
            most_money=args.most_money,
        )
    except BuildRefused as refused:
        raise refuse(refused) from refused
    return _describe_endpoint(row)


def remove_one(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.building.models import TeacherEndpoint
    from chanote.building.services import remove_endpoint
    from chanote.commands.finding import find_actor, find_project

    actor = find_actor(args)
    row = TeacherEndpoint.objects.filter(project=find_project(args, actor), slug=args.name).first()
    if row is None:
        raise CommandEnd(f"No endpoint is called {args.name}; `chanote endpoint list` shows them.", NOT_FOUND)
    remove_endpoint(row, actor=actor)
    return {"removed": args.name}


def _describe_endpoint(row: Any) -> dict[str, Any]:
    names = ("slug", "base_url", "model", "has_key", "licence", "uses", "concurrency", "currency", "most_money")
    return {name: getattr(row, name) for name in names}
