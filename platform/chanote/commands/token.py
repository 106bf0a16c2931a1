"""`chanote token`: API tokens."""

import argparse
from typing import Any

from chanote.commands.answers import NOT_FOUND, USAGE, CommandEnd


def add_parser(nouns: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser) -> None:
    verbs = nouns.add_parser("token", help="API tokens").add_subparsers(required=True, metavar="VERB")
    create = verbs.add_parser("create", parents=[common], help="make a token and print it once")
    create.add_argument("name")
    create.add_argument("--scope", action="append", default=[], help="such as runs:write; repeat for several")
    create.add_argument("--days", type=int, default=30, help="days until it expires (default 30)")
    create.set_defaults(action=make_token)
    show = verbs.add_parser("list", parents=[common], help="list the user's tokens")
    show.set_defaults(action=list_tokens)
    revoke = verbs.add_parser("revoke", parents=[common], help="make a token useless")
    revoke.add_argument("name")
    revoke.set_defaults(action=revoke_token)


def make_token(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.accounts.services import create_token
    from chanote.api.permissions import SCOPES
    from chanote.commands.finding import find_actor

    unknown = sorted(set(args.scope) - set(SCOPES))
    if unknown or not args.scope:
        said = f"Scope {unknown[0]} is unknown" if unknown else "A token needs at least one --scope"
        raise CommandEnd(f"{said}; the scopes are {', '.join(SCOPES)}.", USAGE)
    if args.days < 1:
        raise CommandEnd("--days must be at least 1.", USAGE)
    token, text = create_token(find_actor(args), name=args.name, scopes=args.scope, days=args.days)
    return {"name": token.name, "token": text, "scopes": token.scopes, "expires": token.expiry}


def list_tokens(args: argparse.Namespace) -> list[dict[str, Any]]:
    from chanote.accounts.models import ApiToken
    from chanote.commands.finding import find_actor

    return [
        {"name": token.name, "scopes": token.scopes, "expires": token.expiry, "last_used": token.last_used}
        for token in ApiToken.objects.filter(user=find_actor(args)).order_by("created")
    ]


def revoke_token(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.accounts.models import ApiToken
    from chanote.accounts.services import revoke_token as revoke
    from chanote.commands.finding import find_actor

    actor = find_actor(args)
    tokens = list(ApiToken.objects.filter(user=actor, name=args.name))
    if not tokens:
        raise CommandEnd(f"{actor} has no token called {args.name}.", NOT_FOUND)
    for token in tokens:
        revoke(token, actor=actor)
    return {"revoked": len(tokens)}
