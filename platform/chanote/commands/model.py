"""`chanote model`: register and list models."""

import argparse
from typing import Any

from chanote.commands.answers import REFUSED, CommandEnd


def add_parser(nouns: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser) -> None:
    verbs = nouns.add_parser("model", help="models").add_subparsers(required=True, metavar="VERB")
    register = verbs.add_parser("register", parents=[common], help="register a checkpoint directory as a model")
    register.add_argument("name")
    register.add_argument("directory")
    register.add_argument("--title", default="")
    register.add_argument("--licence", default="", help="SPDX identifier")
    register.add_argument(
        "--forbid",
        action="append",
        default=[],
        choices=["train", "distil", "evaluate", "publish"],
        help="what its terms forbid; repeatable",
    )
    register.add_argument("--non-commercial", action="store_true", help="its terms forbid commerce")
    register.add_argument("--terms", default="", help="where its terms stand, such as an agreement and its section")
    register.set_defaults(action=register_model)
    export = verbs.add_parser("export", parents=[common], help="write a signed bundle: weights, card, data, recipe")
    export.add_argument("name")
    export.add_argument(
        "--out", required=True, metavar="BUNDLE", help="a new directory, or a new file that ends in .tar"
    )
    export.add_argument(
        "--key", default="", metavar="FILE", help="Ed25519 key in PEM; the installation's own by default"
    )
    export.set_defaults(action=export_model, kind="model")
    show = verbs.add_parser("list", parents=[common], help="list models")
    show.set_defaults(action=list_models)


def register_model(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.accounts.roles import require
    from chanote.commands.finding import find_actor, find_project
    from chanote.models.services import ModelRefused, register_directory

    actor = find_actor(args)
    project = find_project(args, actor)
    require(actor, "models.register", project)
    try:
        model = register_directory(
            project=project,
            slug=args.name,
            path=args.directory,
            title=args.title,
            licence=args.licence,
            uses=[use for use in ("train", "distil", "evaluate", "publish") if use not in args.forbid],
            non_commercial=args.non_commercial,
            terms=args.terms,
            actor=actor,
        )
    except ModelRefused as refusal:
        raise CommandEnd(str(refusal), REFUSED) from refusal
    return _describe(model)


def export_model(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.commands.custody import export_bundle

    return export_bundle(args)


def list_models(args: argparse.Namespace) -> list[dict[str, Any]]:
    from chanote.commands.finding import find_actor, find_project
    from chanote.models.models import Model

    actor = find_actor(args)
    return [_describe(m) for m in Model.objects.visible_to(actor).filter(project=find_project(args, actor))]


def _describe(model: Any) -> dict[str, Any]:
    return {
        "name": model.slug,
        "origin": model.origin,
        "parameters": model.parameters,
        "context_length": model.context_length,
        "licence": model.licence,
        "uses": model.uses,
        "sha256": model.sha256,
        "location": model.location,
    }
