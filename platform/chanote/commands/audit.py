"""`chanote audit`: take the audit log out, and check that it is what was written."""

import argparse
import sys
from typing import Any

from chanote.commands.answers import FAILED, REFUSED, USAGE, CommandEnd


def add_parser(nouns: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser) -> None:
    verbs = nouns.add_parser("audit", help="the audit log").add_subparsers(required=True, metavar="VERB")
    export = verbs.add_parser("export", parents=[common], help="write the log to standard output or a file")
    export.add_argument("--format", choices=["csv", "jsonl"], default="jsonl")
    export.add_argument("--out", default="", metavar="FILE", help="a new file; standard output when left out")
    export.add_argument("--everything", action="store_true", help="all projects, and what belongs to none")
    export.add_argument("--who", default="", metavar="USER", help="acts of this user, or `system`")
    export.add_argument("--verb", default="", help="such as run.launched")
    export.add_argument("--object", default="", help="id, or words of the name")
    export.add_argument("--since", default="", metavar="DAY", help="day or moment, ISO 8601; itself within")
    export.add_argument("--until", default="", metavar="DAY", help="day or moment, ISO 8601; itself within")
    export.set_defaults(action=export_log)
    verify = verbs.add_parser("verify", parents=[common], help="find changed and missing events by the hash chain")
    verify.add_argument(
        "--expect", default="", metavar="HEAD", help="a head that an earlier check told: also a cut end is found"
    )
    verify.set_defaults(action=verify_log)


def export_log(args: argparse.Namespace) -> Any:
    from chanote.audit.exporting import export_events
    from chanote.audit.selectors import AuditWish, find_events
    from chanote.commands.finding import find_actor, find_project

    actor = find_actor(args)
    if args.everything and not actor.is_superuser:
        raise CommandEnd("--everything is for administrators of the installation; name a --project.", REFUSED)
    wish = AuditWish(args.who, args.verb, args.object, args.since, args.until)
    if wish.problems:
        problems = [{"field": problem.field, "message": problem.message} for problem in wish.problems]
        raise CommandEnd("A bound cannot be read.", USAGE, problems)
    project = None if args.everything else find_project(args, actor)
    lines = export_events(find_events(actor, project, wish).order_by("pk"), args.format)
    if not args.out:
        sys.stdout.writelines(lines)
        return None
    try:
        with open(args.out, "x", encoding="utf-8", newline="") as file:  # noqa: PTH123
            file.writelines(lines)
    except OSError as error:
        raise CommandEnd(f"{args.out} cannot be written: {error.strerror}.", REFUSED) from error
    return {"written": args.out}


def verify_log(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.audit.verifying import check_log

    try:
        check = check_log(expect=args.expect)
    except ValueError as error:
        raise CommandEnd(str(error), USAGE) from error
    if check.fault_total:
        problems = [{"field": "", "message": fault} for fault in check.faults]
        raise CommandEnd(f"The audit log is not what was written: {check.fault_total:,} faults.", FAILED, problems)
    return {"events": check.events, "head": check.head}
