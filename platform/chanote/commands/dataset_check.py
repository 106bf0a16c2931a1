"""`chanote dataset check`: check a version and tell what was found."""

import argparse
from typing import TYPE_CHECKING, Any

from chanote.commands.answers import FAILED, NOT_FOUND, REFUSED, CommandEnd

if TYPE_CHECKING:
    from chanote.datasets.models import DatasetVersion


def add_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser) -> None:
    check = verbs.add_parser("check", parents=[common], help="check a version and tell what was found")
    check.add_argument("reference", help="name@number, or the name for the newest version")
    check.add_argument("--only", action="append", default=[], metavar="CHECK", help="one check; repeatable")
    how = check.add_mutually_exclusive_group()
    how.add_argument("--here", action="store_true", help="do it in this process, also where no platform runs")
    how.add_argument("--start", action="store_true", help="only start it, and do not wait for its end")
    how.add_argument("--results", action="store_true", help="tell what was found before; start nothing")
    check.set_defaults(action=check_version)


def check_version(args: argparse.Namespace) -> Any:
    from chanote.checks.services import ChecksRefused, start_checks
    from chanote.commands import errand as errands
    from chanote.commands.finding import find_actor, find_project
    from chanote.datasets.models import DatasetVersion
    from chanote.datasets.selectors import find_version
    from chanote.errands.doing import do_here

    actor = find_actor(args)
    project = find_project(args, actor)
    try:
        version = find_version(project, args.reference)
    except DatasetVersion.DoesNotExist as error:
        raise CommandEnd(str(error), NOT_FOUND) from error
    if args.results:
        return describe_results(version)
    try:
        errand = start_checks(version, args.only, actor=actor)
    except ChecksRefused as refused:
        problems = [{"field": problem.field, "message": problem.message} for problem in refused.problems]
        raise CommandEnd(str(refused), REFUSED, problems) from refused
    if args.start:
        return errands.describe(errand)
    if args.here:
        ended = do_here(errand)
        if ended.is_active:
            raise CommandEnd("The platform does it already; wait for it with `chanote errand wait`.", REFUSED)
        if ended.state != "finished":
            raise CommandEnd(ended.fault or f"“{ended.title}” was {ended.state}.", FAILED)
    else:
        errands.wait(errand)
    return describe_results(version)


def describe_results(version: "DatasetVersion") -> list[dict[str, Any]]:
    from chanote.checks.pages import describe_check
    from chanote.checks.selectors import newest_results

    return [
        {
            "check": result.check_name,
            "checker": result.check_version,
            "rows": result.rows,
            "found": result.found_rows,
            "words": describe_check(result.check_class, result).sentence,
            "counts": result.counts,
        }
        for result in newest_results(version).values()
    ]
