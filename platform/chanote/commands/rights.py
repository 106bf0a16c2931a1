"""`chanote rights`: sources, exceptions, withdrawals and what used some rows."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from chanote.commands.answers import NOT_FOUND, REFUSED, USAGE, CommandEnd

USES = ["train", "distil", "evaluate", "publish"]


def add_parser(nouns: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser) -> None:
    verbs = nouns.add_parser("rights", help="sources, exceptions, withdrawals").add_subparsers(
        required=True, metavar="VERB"
    )

    def add(name: str, action: Callable[..., Any], words: str) -> argparse.ArgumentParser:
        verb = verbs.add_parser(name, parents=[common], help=words)
        verb.set_defaults(action=action)
        return verb

    add("sources", list_sources, "list sources")
    add("source", show_source, "show one source").add_argument("source")
    impact = add("impact", show_impact, "everything that used a source or a row")
    impact.add_argument("what", help="SOURCE, or NAME@VERSION#ROW for a row")
    take = add("withdraw", withdraw, "withdraw a source or a row; it cannot be taken back")
    take.add_argument("what", help="SOURCE, or NAME@VERSION#ROW for a row")
    take.add_argument("--reason", required=True)
    retrain = add("retrain", retrain_recipe, "draft a recipe anew without rows that were withdrawn")
    retrain.add_argument("recipe")
    retrain.add_argument("--without", action="append", default=[], metavar="SOURCE", help="also without this source")
    check = add("check", check_use, "say whether a version or a model may be used so")
    check.add_argument("what", help="NAME@VERSION, or the name of a model")
    check.add_argument("use", choices=USES)
    add("exceptions", list_exceptions, "list requests for exception")
    ask = add("ask", ask_exception, "ask for an exception; somebody else must approve it")
    ask.add_argument("what", help="NAME@VERSION, or the name of a model")
    ask.add_argument("use", choices=USES)
    ask.add_argument("--reason", required=True)
    ask.add_argument("--until", required=True, metavar="YYYY-MM-DD")
    for name, words in (("approve", "approve somebody else's request"), ("refuse", "refuse somebody else's request")):
        decide = add(name, decide_exception, words)
        decide.add_argument("number", type=int)
        decide.add_argument("--note", default="")
        decide.set_defaults(decision=name)
    revoke = add("revoke", decide_exception, "end an approved exception")
    revoke.add_argument("number", type=int)
    revoke.add_argument("--reason", required=True, dest="note")
    revoke.set_defaults(decision="revoke")
    back = add("take-back", decide_exception, "take back your own request")
    back.add_argument("number", type=int)
    back.set_defaults(decision="take-back", note="")


def list_sources(args: argparse.Namespace) -> list[dict[str, Any]]:
    from chanote.rights.models import Source

    actor, project = _enter(args)
    return [
        {
            "source": source.slug,
            "licence": source.licence,
            "uses": source.uses,
            "owner": source.owner,
            "expires": source.expires,
            "withdrawn": source.withdrawn,
        }
        for source in Source.objects.visible_to(actor).filter(project=project)
    ]


def show_source(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.rights.sources import describe_facts

    _, project = _enter(args)
    source = _find_source(project, args.source)
    return {
        "source": source.slug,
        **describe_facts(source),
        "withdrawn": source.withdrawn,
        "withdrawal_reason": source.withdrawal_reason,
    }


def show_impact(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.rights.api import describe_impact
    from chanote.rights.impact import find_impact_of_row, find_impact_of_source
    from chanote.rights.rows import mark_row

    _, project = _enter(args)
    if "#" in args.what:
        version, row = _find_row(project, args.what)
        return describe_impact(find_impact_of_row(project, mark_row(version, row)))
    return describe_impact(find_impact_of_source(_find_source(project, args.what)))


def withdraw(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.rights.withdrawal import withdraw_row, withdraw_source

    actor, project = _enter(args)
    with _refusing():
        if "#" in args.what:
            version, number = _find_row(project, args.what)
            row = withdraw_row(version, number, reason=args.reason, actor=actor)
            return {"withdrawn": str(row), "reason": row.reason, "at": row.withdrawn}
        source = withdraw_source(_find_source(project, args.what), reason=args.reason, actor=actor)
    return {"withdrawn": source.slug, "reason": source.withdrawal_reason, "at": source.withdrawn}


def retrain_recipe(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.commands.finding import find_named
    from chanote.errands.doing import do_here
    from chanote.errands.models import State
    from chanote.recipes.models import Recipe
    from chanote.rights.retraining import start_retraining

    actor, project = _enter(args)
    recipe = find_named(Recipe.objects.visible_to(actor).filter(project=project), "recipe", args.recipe)
    sources = [_find_source(project, slug) for slug in args.without]
    with _refusing():
        errand = start_retraining(recipe, sources=sources, actor=actor)
    ended = do_here(errand)
    if ended.is_active:
        raise CommandEnd("The platform does it already; wait for it with `chanote errand wait`.", REFUSED)
    if ended.state != State.FINISHED:
        raise CommandEnd(ended.fault or f"“{ended.title}” was {ended.state}.", REFUSED)
    return {name: ended.result[name] for name in ("recipe", "revision", "versions", "left")}


def check_use(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.datasets.models import DatasetVersion
    from chanote.rights.rules import judge_model, judge_version

    _, project = _enter(args)
    subject = _find_subject(project, args.what)
    judge: Any = judge_version if isinstance(subject, DatasetVersion) else judge_model
    judgement = judge(subject, args.use)
    if judgement.refusals:
        raise CommandEnd(
            f"{args.what} must not be used so.",
            REFUSED,
            [{"field": one.rule, "message": one.message} for one in judgement.refusals],
        )
    return {
        "what": args.what,
        "use": args.use,
        "allowed": True,
        "exceptions": [str(one) for one in judgement.exceptions],
    }


def list_exceptions(args: argparse.Namespace) -> list[dict[str, Any]]:
    from chanote.rights.models import ExceptionRequest

    actor, project = _enter(args)
    found = ExceptionRequest.objects.visible_to(actor).filter(project=project)
    return [_describe(one) for one in found.select_related("version__dataset", "model", "requested_by", "decided_by")]


def ask_exception(args: argparse.Namespace) -> dict[str, Any]:
    from datetime import date

    from chanote.rights.exceptions import request_exception

    actor, project = _enter(args)
    try:
        until = date.fromisoformat(args.until)
    except ValueError as error:
        raise CommandEnd(f"--until {args.until} is no day; write it as YYYY-MM-DD.", USAGE) from error
    subject = _find_subject(project, args.what)
    with _refusing():
        asked = request_exception(
            project=project, subject=subject, use=args.use, reason=args.reason, until=until, actor=actor
        )
    return _describe(asked)


def decide_exception(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.rights import exceptions
    from chanote.rights.models import ExceptionRequest

    actor, project = _enter(args)
    found = ExceptionRequest.objects.visible_to(actor).select_related("project")
    asked = found.filter(project=project, pk=args.number).first()
    if asked is None:
        raise CommandEnd(f"No request {args.number} here; `chanote rights exceptions` shows them.", NOT_FOUND)
    with _refusing():
        match args.decision:
            case "approve":
                asked = exceptions.approve_exception(asked, note=args.note, actor=actor)
            case "refuse":
                asked = exceptions.refuse_exception(asked, note=args.note, actor=actor)
            case "revoke":
                asked = exceptions.revoke_exception(asked, reason=args.note, actor=actor)
            case _:
                asked = exceptions.take_back_exception(asked, actor=actor)
    return _describe(asked)


def _enter(args: argparse.Namespace) -> tuple[Any, Any]:
    from chanote.commands.finding import find_actor, find_project

    actor = find_actor(args)
    return actor, find_project(args, actor)


@contextmanager
def _refusing() -> Iterator[None]:
    from chanote.rights.exceptions import RightsRefused

    try:
        yield
    except RightsRefused as refused:
        problems = [{"field": one.field, "message": one.message} for one in refused.problems]
        raise CommandEnd(str(refused), REFUSED, problems if len(problems) > 1 else []) from refused


def _find_source(project: Any, slug: str) -> Any:
    from chanote.rights.models import Source

    source = Source.objects.filter(project=project, slug=slug).select_related("project").first()
    if source is None:
        raise CommandEnd(f"No source is called {slug}; `chanote rights sources` shows them.", NOT_FOUND)
    return source


def _find_subject(project: Any, name: str) -> Any:
    from chanote.datasets.models import DatasetVersion
    from chanote.datasets.selectors import find_version
    from chanote.models.models import Model

    if "@" not in name:
        model = Model.objects.filter(project=project, slug=name).select_related("project").first()
        if model is None:
            raise CommandEnd(f"{name} is no model; a dataset version is written NAME@VERSION.", NOT_FOUND)
        return model
    try:
        return find_version(project, name)
    except DatasetVersion.DoesNotExist as error:
        raise CommandEnd(str(error), NOT_FOUND) from error


def _find_row(project: Any, name: str) -> tuple[Any, int]:
    reference, _, number = name.partition("#")
    version = _find_subject(project, reference)
    if not number.isdecimal() or not 0 < int(number) <= getattr(version, "rows", 0):
        raise CommandEnd(f"{name} names no row; write NAME@VERSION#ROW, rows counted from 1.", USAGE)
    return version, int(number)


def _describe(asked: Any) -> dict[str, Any]:
    return {
        "exception": asked.pk,
        "what": str(asked.subject),
        "use": asked.use,
        "state": asked.state,
        "until": asked.until,
        "asked_by": asked.requested_by.username,
        "decided_by": asked.decided_by.username if asked.decided_by else "",
        "reason": asked.reason,
    }
