"""`chanote custody`: keys and packages in quarantine; also the exports of `chanote model` and `chanote dataset`."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chanote.commands.answers import MACHINE, NOT_FOUND, REFUSED, USAGE, CommandEnd

if TYPE_CHECKING:
    from chanote.custody.models import Package


def add_parser(nouns: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser) -> None:
    verbs = nouns.add_parser("custody", help="keys, and packages in quarantine").add_subparsers(
        required=True, metavar="VERB"
    )
    key = verbs.add_parser("key", parents=[common], help="show the installation's public key; made when there is none")
    key.set_defaults(action=show_key)
    trust = verbs.add_parser("trust", parents=[common], help="accept somebody's public key")
    trust.add_argument("file", help="PEM, or 64 hexadecimal digits")
    trust.add_argument("--owner", required=True, help="whose key it is, as you made sure")
    trust.set_defaults(action=trust_file)
    distrust = verbs.add_parser("distrust", parents=[common], help="take no further package under a key")
    distrust.add_argument("file", help="PEM, or 64 hexadecimal digits")
    distrust.set_defaults(action=distrust_file)
    show = verbs.add_parser("list", parents=[common], help="list the packages")
    show.set_defaults(action=list_packages)
    for verb, action, words in (
        ("accept", accept, "let in a package that somebody else brought"),
        ("reject", reject, "keep out a package that somebody else brought"),
    ):
        parser = verbs.add_parser(verb, parents=[common], help=words)
        parser.add_argument("number", type=int)
        parser.add_argument("--reason", required=True)
        if verb == "accept":
            parser.add_argument("--wait", action="store_true", help="until its version is made")
        parser.set_defaults(action=action)


def export_bundle(args: argparse.Namespace) -> dict[str, Any]:
    """Of the kind that the parser set. The name is a model's, or a version's `slug@number`."""
    from chanote.commands.finding import find_actor, find_project
    from chanote.custody import exporting
    from chanote.custody.bundle import KeyRefused, load_private_key
    from chanote.custody.exporting import ExportRefused
    from chanote.custody.selectors import find_subject
    from chanote.custody.signing import open_own_key

    actor = find_actor(args)
    project = find_project(args, actor)
    subject = find_subject(project, args.kind, args.name)
    if subject is None:
        raise CommandEnd(f"No {args.kind} is called {args.name}; `chanote {args.kind} list` shows them.", NOT_FOUND)
    target = Path(args.out)
    try:
        key = load_private_key(Path(args.key)) if args.key else open_own_key()
        export = exporting.export_bundle(subject, target, key=key, actor=actor, report=_tell_progress)
    except KeyRefused as refused:
        raise CommandEnd(str(refused), USAGE) from refused
    except ExportRefused as refused:
        raise CommandEnd("Nothing was exported.", REFUSED, _tell(refused)) from refused
    except FileExistsError as error:
        raise CommandEnd(f"There is already something at {target}; name a new file or directory.", REFUSED) from error
    except OSError as error:
        raise CommandEnd(f"{target} cannot be written: {error.strerror}.", MACHINE) from error
    return {
        "written": str(target),
        "name": export.name,
        "bytes": export.bytes,
        "manifest_sha256": export.manifest_sha256,
        "fingerprint": export.fingerprint,
    }


def _tell_progress(done: int, total: int, name: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{100 * done // max(total, 1):3} %  {name[:60]:<60}", end="", file=sys.stderr, flush=True)
        if done == total:
            print(file=sys.stderr)


def receive(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.commands.finding import find_actor, find_project
    from chanote.custody.packages import PackageRefused
    from chanote.custody.quarantine import receive_package

    actor = find_actor(args)
    try:
        package = receive_package(project=find_project(args, actor), file=Path(args.package), actor=actor)
    except PackageRefused as refused:
        raise CommandEnd("The package was not taken.", REFUSED, _tell(refused)) from refused
    return _describe(package)


def show_key(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.custody.bundle import KeyRefused, name_key
    from chanote.custody.bundle.keys import write_public_key
    from chanote.custody.signing import open_own_key

    try:
        public = open_own_key().public_key().public_bytes_raw()
    except KeyRefused as refused:
        raise CommandEnd(str(refused), MACHINE) from refused
    return {"fingerprint": name_key(public), "public_key": public.hex(), "pem": write_public_key(public)}


def trust_file(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.commands.finding import find_actor, find_project
    from chanote.custody.packages import PackageRefused
    from chanote.custody.trust import trust_key

    actor = find_actor(args)
    project = find_project(args, actor)
    try:
        trusted = trust_key(project=project, key=_read_key(args.file), owner=args.owner, actor=actor)
    except PackageRefused as refused:
        raise CommandEnd("The key was not accepted.", REFUSED, _tell(refused)) from refused
    return {"owner": trusted.owner, "fingerprint": trusted.fingerprint}


def distrust_file(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.commands.finding import find_actor, find_project
    from chanote.custody.models import TrustedKey
    from chanote.custody.trust import distrust_key

    actor = find_actor(args)
    project = find_project(args, actor)
    trusted = TrustedKey.objects.filter(project=project, key=_read_key(args.file)).first()
    if trusted is None:
        raise CommandEnd("This key is not among the accepted ones.", NOT_FOUND)
    distrust_key(trusted, actor=actor)
    return {"no_longer_accepted": trusted.owner}


def _read_key(name: str) -> str:
    from chanote.custody.bundle import KeyRefused, load_public_key

    try:
        return load_public_key(Path(name)).hex()
    except KeyRefused as refused:
        raise CommandEnd(str(refused), USAGE) from refused


def list_packages(args: argparse.Namespace) -> list[dict[str, Any]]:
    from chanote.commands.finding import find_actor, find_project
    from chanote.custody.models import Package

    actor = find_actor(args)
    packages = Package.objects.visible_to(actor).filter(project=find_project(args, actor))
    return [_describe(one) for one in packages.select_related("project", "uploaded_by", "decided_by")[:200]]


def accept(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.commands.errand import describe, wait
    from chanote.commands.finding import find_actor
    from chanote.custody.packages import PackageRefused
    from chanote.custody.quarantine import accept_package

    try:
        errand = accept_package(_find(args), reason=args.reason, actor=find_actor(args))
    except PackageRefused as refused:
        raise CommandEnd("The package stays where it is.", REFUSED, _tell(refused)) from refused
    return wait(errand) if args.wait else describe(errand)


def reject(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.commands.finding import find_actor
    from chanote.custody.packages import PackageRefused
    from chanote.custody.quarantine import reject_package

    try:
        return _describe(reject_package(_find(args), reason=args.reason, actor=find_actor(args)))
    except PackageRefused as refused:
        raise CommandEnd("The package stays where it is.", REFUSED, _tell(refused)) from refused


def _find(args: argparse.Namespace) -> "Package":
    from django.http import Http404

    from chanote.commands.finding import find_actor, find_project
    from chanote.custody.selectors import find_package

    project = find_project(args, find_actor(args))
    try:
        return find_package(project, args.number)
    except Http404 as error:
        raise CommandEnd(
            f"Project {project.slug} has no package {args.number}; see `chanote custody list`.", NOT_FOUND
        ) from error


def _describe(package: "Package") -> dict[str, Any]:
    from chanote.custody.trust import find_key_owner

    return {
        "number": package.pk,
        "name": package.name,
        "state": package.state,
        "rows": package.rows,
        "signed_by": find_key_owner(package.project, package.key) or "unknown key",
        "fingerprint": package.fingerprint,
        "brought_by": package.uploaded_by.username if package.uploaded_by else "",
        "decided_by": package.decided_by.username if package.decided_by else "",
    }


def _tell(refused: Any) -> list[dict[str, str]]:
    return [{"field": problem.field, "message": problem.message} for problem in refused.problems]
