"""`chanote errand`: look at, wait for, stop and resume the platform's own long work."""

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

from chanote.commands.answers import FAILED, NOT_FOUND, REFUSED, CommandEnd

if TYPE_CHECKING:
    from chanote.errands.models import Errand

WAIT_SECONDS = 1.0


def add_parser(nouns: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser) -> None:
    verbs = nouns.add_parser("errand", help="the platform's own long work").add_subparsers(
        required=True, metavar="VERB"
    )
    verbs.add_parser("list", parents=[common], help="list errands").set_defaults(action=list_errands)
    for verb, action, words in (
        ("show", show_errand, "show one errand"),
        ("wait", wait_for_errand, "wait until an errand has ended"),
        ("stop", stop, "ask an errand to stop"),
        ("resume", resume, "let a stopped or failed errand go on"),
    ):
        parser = verbs.add_parser(verb, parents=[common], help=words)
        parser.add_argument("number", type=int)
        parser.set_defaults(action=action)


def list_errands(args: argparse.Namespace) -> list[dict[str, Any]]:
    from chanote.commands.finding import find_actor, find_project
    from chanote.errands.models import Errand

    actor = find_actor(args)
    found = Errand.objects.visible_to(actor).filter(project=find_project(args, actor))
    return [describe(one) for one in found.select_related("created_by")[:100]]


def show_errand(args: argparse.Namespace) -> dict[str, Any]:
    return describe(find(args))


def wait_for_errand(args: argparse.Namespace) -> dict[str, Any]:
    return wait(find(args))


def stop(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.errands.services import stop_errand

    return _act(args, stop_errand)


def resume(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.errands.services import resume_errand

    return _act(args, resume_errand)


def _act(args: argparse.Namespace, service: Any) -> dict[str, Any]:
    from chanote.commands.finding import find_actor
    from chanote.errands.services import ErrandRefused

    errand = find(args)
    try:
        service(errand, actor=find_actor(args))
    except ErrandRefused as refused:
        raise CommandEnd(str(refused), REFUSED) from refused
    errand.refresh_from_db()
    return describe(errand)


def find(args: argparse.Namespace) -> "Errand":
    from chanote.commands.finding import find_actor, find_project
    from chanote.errands.models import Errand

    actor = find_actor(args)
    project = find_project(args, actor)
    found = Errand.objects.visible_to(actor).filter(project=project, pk=args.number).select_related("created_by")
    if (errand := found.first()) is None:
        raise CommandEnd(f"Project {project.slug} has no errand {args.number}; see `chanote errand list`.", NOT_FOUND)
    return errand


def wait(errand: "Errand") -> dict[str, Any]:
    """Wait for the end, telling the progress on standard error; raises CommandEnd when it failed or was stopped."""
    told = ""
    while True:
        errand.refresh_from_db()
        line = f"{errand.state}: {errand.words} {errand.done:,} of {errand.total:,}" if errand.total else errand.state
        if line != told:
            print(line, file=sys.stderr, flush=True)
            told = line
        if not errand.is_active:
            break
        time.sleep(WAIT_SECONDS)
    if errand.state != "finished":
        raise CommandEnd(errand.fault or f"“{errand.title}” was {errand.state}.", FAILED)
    return describe(errand)


def describe(errand: "Errand") -> dict[str, Any]:
    return {
        "id": errand.pk,
        "kind": errand.kind,
        "title": errand.title,
        "state": errand.state,
        "done": errand.done,
        "total": errand.total,
        "words": errand.words,
        "cost": errand.cost,
        "result": errand.result,
        "fault": errand.fault,
        "author": errand.created_by.username if errand.created_by else "",
    }
