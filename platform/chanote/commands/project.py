"""`chanote project`: what holds in a project."""

import argparse
from typing import Any


def add_parser(nouns: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser) -> None:
    verbs = nouns.add_parser("project", help="what holds in a project").add_subparsers(required=True, metavar="VERB")
    show = verbs.add_parser("show", parents=[common], help="show the project and its members")
    show.set_defaults(action=show_project)
    reviews = verbs.add_parser("reviews", parents=[common], help="say whether only approved versions may train")
    reviews.add_argument("answer", choices=["yes", "no"])
    reviews.set_defaults(action=change_reviews)


def show_project(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.commands.finding import find_actor, find_project

    project = find_project(args, find_actor(args))
    members = project.memberships.select_related("user").order_by("user__username")
    return {
        "project": project.slug,
        "name": project.name,
        "reviews_data": project.reviews_data,
        "members": [f"{one.user.username}: {one.role}" for one in members],
    }


def change_reviews(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.accounts.services import set_reviews_data
    from chanote.commands.finding import find_actor, find_project

    actor = find_actor(args)
    project = set_reviews_data(find_project(args, actor), args.answer == "yes", actor=actor)
    return {"project": project.slug, "reviews_data": project.reviews_data}
