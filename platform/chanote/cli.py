"""Entry point of the `chanote` command."""

import argparse
import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import Any

from chanote import __version__
from chanote.commands.answers import FAILED, MACHINE, REFUSED, CommandEnd, print_answer, print_end

NOUNS = (
    "up",
    "demo",
    "user",
    "project",
    "token",
    "dataset",
    "model",
    "recipe",
    "toolset",
    "run",
    "board",
    "serve",
    "errand",
    "rights",
    "endpoint",
    "audit",
    "custody",
    "verify",
    "task",
)


def build_parser(names: Sequence[str] = NOUNS) -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="answer in JSON")
    common.add_argument("--project", default="", metavar="SLUG", help="project to work in; not needed if there is one")
    common.add_argument("--as", dest="actor", default="", metavar="USER", help="act as this user")
    parser = argparse.ArgumentParser(prog="chanote", description="Post-training of language models, in your own house.")
    parser.add_argument("--version", action="version", version=f"chanote {__version__}")
    nouns = parser.add_subparsers(title="nouns", dest="noun", required=True, metavar="NOUN")
    for name in names:
        importlib.import_module(f"chanote.commands.{name}").add_parser(nouns, common)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns its exit code (see `chanote.commands`)."""
    words = argv if argv is not None else sys.argv[1:]
    # Whoever receives a bundle needs no installation to check it.
    alone = words[:1] == ["verify"]
    if not alone and importlib.util.find_spec("django") is None:
        print("chanote: the platform is not installed here; run: pip install 'chanote[all]'", file=sys.stderr)
        return MACHINE
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chanote.settings")
    as_json = "--json" in words
    try:
        # What serves writes lines for programs, unless somebody watches.
        if not alone:
            _set_up_django(for_eyes=words[:1] not in (["up"], ["demo"]) or (sys.stderr.isatty() and "here" in words))
        args = build_parser(("verify",) if alone else NOUNS).parse_args(argv)
        answer = args.action(args) if alone else _act(args)
        if isinstance(answer, int) and not isinstance(answer, bool):
            return answer
        print_answer(answer, as_json=as_json)
        sys.stdout.flush()
    except CommandEnd as end:
        print_end(end, as_json=as_json)
        return end.code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output went away, as `head` does. Nothing is left to say, nor to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return 0


def _act(args: argparse.Namespace) -> Any:
    from django.core.exceptions import PermissionDenied
    from django.db import OperationalError, ProgrammingError

    try:
        return args.action(args)
    except PermissionDenied as error:
        raise CommandEnd(str(error), REFUSED) from error
    except (OperationalError, ProgrammingError) as error:
        # Both mean that the tables are not there; a broken query is told by its own test.
        raise CommandEnd(
            f"The database is not ready ({error}); start `chanote up` once, or check CHANOTE_DATABASE_URL.", MACHINE
        ) from error


def _set_up_django(*, for_eyes: bool) -> None:
    """`for_eyes`: what is logged is read on this terminal, not kept."""
    import django

    from chanote.environment import SettingError

    if for_eyes:
        os.environ.setdefault("CHANOTE_LOG_JSON", "0")
    try:
        django.setup()
    except SettingError as error:
        raise CommandEnd(str(error), MACHINE) from error


if __name__ == "__main__":
    sys.exit(main())
