"""`chanote user`: people and their roles."""

import argparse
from typing import Any

from chanote.commands.answers import REFUSED, USAGE, CommandEnd


def add_parser(nouns: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser) -> None:
    verbs = nouns.add_parser("user", help="people and their roles").add_subparsers(required=True, metavar="VERB")
    create = verbs.add_parser("create", parents=[common], help="make an account and print its one-time password")
    create.add_argument("username")
    create.add_argument("--admin", action="store_true", help="administrator of the whole installation")
    create.add_argument("--role", choices=["viewer", "researcher", "curator", "admin"], help="role in the project")
    create.add_argument("--new-project", default="", metavar="SLUG", help="also make a project owned by this person")
    create.set_defaults(action=create_account)
    password = verbs.add_parser("password", parents=[common], help="set a new one-time password")
    password.add_argument("username")
    password.set_defaults(action=renew_password)
    show = verbs.add_parser("list", parents=[common], help="list the accounts")
    show.set_defaults(action=list_accounts)


def create_account(args: argparse.Namespace) -> dict[str, Any]:
    from django.core.exceptions import ValidationError

    from chanote.accounts.models import User
    from chanote.accounts.services import create_project, create_user, set_role
    from chanote.commands.finding import find_actor, find_project

    if User.objects.filter(username=args.username).exists():
        raise CommandEnd(f"There is already a user called {args.username}.", REFUSED)
    try:
        user, password = create_user(args.username, is_superuser=args.admin)
        if args.new_project:
            create_project(slug=args.new_project, name=args.new_project.replace("-", " ").capitalize(), owner=user)
    except ValidationError as error:
        raise CommandEnd(" ".join(error.messages), USAGE) from error
    if args.role:
        actor = find_actor(args)
        set_role(user=user, project=find_project(args, actor), role=args.role, actor=actor)
    return {"username": user.username, "one_time_password": password}


def renew_password(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.accounts.models import User
    from chanote.accounts.services import reset_password
    from chanote.commands.answers import NOT_FOUND

    user = User.objects.filter(username=args.username).first()
    if user is None:
        raise CommandEnd(f"No user is called {args.username}.", NOT_FOUND)
    return {"username": user.username, "one_time_password": reset_password(user)}


def list_accounts(args: argparse.Namespace) -> list[dict[str, Any]]:
    from chanote.accounts.models import User

    return [
        {
            "username": user.username,
            "administrator": user.is_superuser,
            "active": user.is_active,
            "roles": [f"{m.role} in {m.project.slug}" for m in user.memberships.all()],
        }
        for user in User.objects.prefetch_related("memberships__project").order_by("username")
    ]
