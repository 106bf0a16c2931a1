"""`chanote dataset`: import and look at datasets."""

import argparse
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chanote.commands import dataset_check
from chanote.commands.answers import FAILED, NOT_FOUND, REFUSED, USAGE, CommandEnd

if TYPE_CHECKING:
    from chanote.datasets.errors import ImportRefused


def add_parser(nouns: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser) -> None:
    verbs = nouns.add_parser("dataset", help="datasets").add_subparsers(required=True, metavar="VERB")
    take = verbs.add_parser("import", parents=[common], help="import a JSONL, CSV or Parquet file as a new version")
    take.add_argument("file", type=Path)
    take.add_argument("--name", default="", help="name of the dataset (default: the file's name)")
    take.add_argument("--kind", required=True, choices=["chat", "text", "prompts", "choices", "preferences"])
    take.add_argument("--format", choices=["jsonl", "csv", "parquet"], help="default: by the file's ending")
    take.add_argument("--column", action="append", default=[], metavar="FIELD=COLUMN", help="map a column; repeatable")
    take.add_argument("--title", default="")
    take.add_argument("--licence", default="", help="SPDX identifier")
    take.add_argument(
        "--use", action="append", choices=["train", "distil", "evaluate", "publish"], help="allowed use; repeatable"
    )
    take.add_argument("--non-commercial", action=argparse.BooleanOptionalAction)
    take.add_argument("--language", action="append", default=[], help="language tag such as th; repeatable")
    take.add_argument("--source", default="", help="where the rows come from")
    take.add_argument("--source-name", default="", metavar="SOURCE", help="a source of the project, or a new name")
    for name in ("legal-basis", "owner", "contact", "jurisdiction"):
        take.add_argument(f"--{name}", default="", help="of the source, where it is new")
    for name in ("collected", "expires"):
        take.add_argument(f"--{name}", type=_read_day, metavar="YYYY-MM-DD", help="of the source, where it is new")
    take.add_argument("--reason", default="", help="why this version is made")
    take.set_defaults(action=import_file)
    shared = verbs.add_parser("import-shared", parents=[common], help="import the known public datasets of a folder")
    shared.add_argument("folder", type=Path)
    shared.set_defaults(action=import_shared)
    export = verbs.add_parser("export", parents=[common], help="write a signed transfer package of a version")
    export.add_argument("name", metavar="REF", help="slug@number, or slug for the newest")
    export.add_argument(
        "--out", required=True, metavar="PACKAGE", help="a new directory, or a new file that ends in .tar"
    )
    export.add_argument(
        "--key", default="", metavar="FILE", help="Ed25519 key in PEM; the installation's own by default"
    )
    export.set_defaults(action=export_version, kind="dataset")
    receive = verbs.add_parser("import-package", parents=[common], help="bring a transfer package into quarantine")
    receive.add_argument("package", metavar="PACKAGE")
    receive.set_defaults(action=import_package)
    show = verbs.add_parser("list", parents=[common], help="list datasets")
    show.set_defaults(action=list_datasets)
    one = verbs.add_parser("show", parents=[common], help="show one dataset and its versions")
    one.add_argument("name")
    one.set_defaults(action=show_dataset)
    review = verbs.add_parser("review", parents=[common], help="where a version stands; ask, sign, return, withdraw")
    review.add_argument("version", help="NAME@NUMBER, or NAME for the newest")
    review.add_argument("act", nargs="?", choices=["ask", "sign", "return", "restrict", "withdraw"])
    review.add_argument("--reason", default="", help="for the others to know")
    review.add_argument("--restricted", action="store_true", help="of ask: restricted data, two people sign")
    review.add_argument(
        "--confirm", action="append", default=[], metavar="POINT", help="of sign: repeat for each point"
    )
    review.set_defaults(action=review_version)
    replay = verbs.add_parser("replay", parents=[common], help="do again what made a version, and compare the hash")
    replay.add_argument("version", help="NAME@NUMBER, or NAME for the newest")
    replay.set_defaults(action=replay_dataset)
    dataset_check.add_parser(verbs, common)


def _read_day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} is no day; write it as YYYY-MM-DD") from error


def export_version(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.commands.custody import export_bundle

    return export_bundle(args)


def import_package(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.commands.custody import receive

    return receive(args)


def import_file(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.accounts.roles import require
    from chanote.commands.finding import find_actor, find_project
    from chanote.datasets.services import ImportRefused, import_dataset

    actor = find_actor(args)
    project = find_project(args, actor)
    require(actor, "datasets.change", project)
    format_ = args.format or args.file.suffix.lstrip(".").lower().replace("ndjson", "jsonl")
    if format_ not in {"jsonl", "csv", "parquet"}:
        raise CommandEnd(f"The ending of {args.file.name} says nothing known; add --format.", USAGE)
    columns = {}
    for pair in args.column:
        field, _, column = pair.partition("=")
        if not column:
            raise CommandEnd(f"--column {pair} is not FIELD=COLUMN.", USAGE)
        columns[field] = column
    try:
        with args.file.open("rb") as file:
            version = import_dataset(
                project=project,
                slug=args.name or args.file.stem.lower().replace(" ", "-"),
                kind=args.kind,
                file=file,
                format=format_,
                title=args.title,
                columns=columns or None,
                licence=args.licence,
                # What is not said is taken over from the newest version.
                uses=args.use,
                non_commercial=args.non_commercial,
                source=args.source,
                source_name=args.source_name,
                source_facts={
                    name: getattr(args, name)
                    for name in ("legal_basis", "owner", "contact", "jurisdiction", "collected", "expires")
                },
                languages=args.language,
                reason=args.reason,
                actor=actor,
            )
    except OSError as error:
        raise CommandEnd(f"{args.file} cannot be read: {error.strerror}.", NOT_FOUND) from error
    except ImportRefused as refusal:
        raise _refuse(refusal) from refusal
    return _describe_version(version)


def import_shared(args: argparse.Namespace) -> list[dict[str, Any]]:
    from chanote.accounts.roles import require
    from chanote.commands.finding import find_actor, find_project
    from chanote.datasets.services import ImportRefused
    from chanote.datasets.shared import load_shared_data

    actor = find_actor(args)
    project = find_project(args, actor)
    require(actor, "datasets.change", project)
    if not args.folder.is_dir():
        raise CommandEnd(f"{args.folder} is not a folder.", NOT_FOUND)
    try:
        return [_describe_version(version) for version in load_shared_data(project, actor, args.folder)]
    except ImportRefused as refusal:
        raise _refuse(refusal) from refusal


def list_datasets(args: argparse.Namespace) -> list[dict[str, Any]]:
    from chanote.commands.finding import find_actor, find_project
    from chanote.datasets.models import Dataset

    actor = find_actor(args)
    datasets = Dataset.objects.visible_to(actor).filter(project=find_project(args, actor)).prefetch_related("versions")
    rows = []
    for dataset in datasets:
        newest = dataset.versions.first()
        rows.append(
            {
                "name": dataset.slug,
                "kind": dataset.kind,
                "version": newest.number if newest else None,
                "rows": newest.rows if newest else 0,
                "licence": newest.licence if newest else "",
                "uses": newest.uses if newest else [],
            }
        )
    return rows


def show_dataset(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.commands.finding import find_actor, find_named, find_project
    from chanote.datasets.models import Dataset

    actor = find_actor(args)
    project = find_project(args, actor)
    dataset = find_named(Dataset.objects.visible_to(actor).filter(project=project), "dataset", args.name)
    return {
        "name": dataset.slug,
        "title": dataset.title,
        "kind": dataset.kind,
        "languages": dataset.languages,
        "versions": [_describe_version(version) for version in dataset.versions.all()],
    }


def review_version(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.commands.finding import find_actor, find_project
    from chanote.curation import services
    from chanote.curation.rules import CHECKLIST
    from chanote.curation.selectors import standing_of

    actor = find_actor(args)
    version = _find_version(find_project(args, actor), args.version)
    acts = {
        "ask": lambda: services.ask_for_review(version, restricted=args.restricted, note=args.reason, actor=actor),
        "sign": lambda: services.sign_version(version, checklist=args.confirm, note=args.reason, actor=actor),
        "return": lambda: services.return_version(version, reason=args.reason, actor=actor),
        "restrict": lambda: services.restrict_version(version, reason=args.reason, actor=actor),
        "withdraw": lambda: services.withdraw_version(version, reason=args.reason, actor=actor),
    }
    if args.act:
        try:
            acts[args.act]()
        except services.CurationRefused as refused:
            problems = [{"field": one.field, "message": one.message} for one in refused.problems]
            raise CommandEnd(str(refused), REFUSED, problems) from refused
    standing = standing_of(version)
    return {
        "dataset": version.reference,
        "state": standing.state,
        "restricted": standing.restricted,
        "signers_needed": standing.signers_needed,
        "signed_by": [one.username for one in standing.signers],
        "points_to_confirm": list(CHECKLIST),
    }


def replay_dataset(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.commands.finding import find_actor, find_project
    from chanote.curation.changes import replay_version
    from chanote.curation.operations import ReplayError

    version = _find_version(find_project(args, find_actor(args)), args.version)
    try:
        sha256 = replay_version(version)
    except ReplayError as error:
        raise CommandEnd(str(error), REFUSED) from error
    if sha256 != version.sha256:
        raise CommandEnd(f"{version.reference} has the hash {version.sha256}; replayed it is {sha256}.", FAILED)
    return {"dataset": version.reference, "sha256": sha256, "same": True}


def _find_version(project: Any, reference: str) -> Any:
    from chanote.datasets.models import DatasetVersion
    from chanote.datasets.selectors import find_version

    try:
        return find_version(project, reference)
    except DatasetVersion.DoesNotExist as error:
        raise CommandEnd(str(error), NOT_FOUND) from error


def _refuse(refusal: "ImportRefused") -> CommandEnd:
    problems = [{"field": problem.field, "message": problem.message} for problem in refusal.problems]
    return CommandEnd(str(refusal), REFUSED, problems)


def _describe_version(version: Any) -> dict[str, Any]:
    return {
        "dataset": version.reference,
        "rows": version.rows,
        "bytes": version.bytes,
        "sha256": version.sha256,
        "licence": version.licence,
        "uses": version.uses,
        "non_commercial": version.non_commercial,
    }
