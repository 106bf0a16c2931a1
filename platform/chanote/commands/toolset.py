"""`chanote toolset`: save and look at toolsets, and write their corpora as files of the tool service."""

import argparse
from pathlib import Path
from typing import Any

from chanote.commands.answers import NOT_FOUND, REFUSED, USAGE, CommandEnd


def add_parser(nouns: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser) -> None:
    verbs = nouns.add_parser("toolset", help="toolsets").add_subparsers(required=True, metavar="VERB")
    verbs.add_parser("list", parents=[common], help="list toolsets").set_defaults(action=list_toolsets)
    show = verbs.add_parser("show", parents=[common], help="show a toolset and how its service is")
    show.add_argument("name", help="NAME, or NAME@REVISION")
    show.set_defaults(action=show_toolset)
    save = verbs.add_parser("save", parents=[common], help="save the next revision of a toolset")
    save.add_argument("name")
    save.add_argument("--tool", action="append", required=True, help="name of a tool; repeatable")
    save.add_argument("--corpus", default="", help="dataset version, NAME@VERSION")
    save.add_argument("--limit", action="append", default=[], metavar="NAME=VALUE", help="such as top_k=5; repeatable")
    save.add_argument("--image-digest", default="")
    save.add_argument("--address", default="", help="of the tool service; empty: the installation's own")
    save.add_argument("--title", default="")
    save.add_argument("--message", default="")
    save.set_defaults(action=save_revision)
    corpus = verbs.add_parser("corpus", parents=[common], help="write a dataset version as the service's corpus file")
    corpus.add_argument("dataset", help="dataset version, NAME@VERSION")
    corpus.add_argument("--out", type=Path, required=True, metavar="FILE.jsonl")
    corpus.set_defaults(action=write_corpus_file)


def list_toolsets(args: argparse.Namespace) -> list[dict[str, Any]]:
    from chanote.commands.finding import find_actor, find_project
    from chanote.tools.models import Toolset
    from chanote.tools.selectors import list_toolsets

    actor = find_actor(args)
    found = list_toolsets(Toolset.objects.visible_to(actor).filter(project=find_project(args, actor)))
    return [_describe(one.revisions.all()[0]) for one in found if one.revisions.all()]


def show_toolset(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.commands.finding import find_actor, find_project
    from chanote.tools.freezing import find_differences, find_toolset
    from chanote.tools.health import look
    from chanote.tools.models import ToolsetRevision

    actor = find_actor(args)
    try:
        revision = find_toolset(find_project(args, actor), args.name)
    except ToolsetRevision.DoesNotExist as error:
        raise CommandEnd(f"{error}.", NOT_FOUND) from error
    health = look(revision.address, fresh=True)
    return {**_describe(revision), "service": health.sentence, "obstacles": find_differences(revision, health)}


def save_revision(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.commands.finding import find_actor, find_project
    from chanote.tools.services import ToolsetRefused, save_toolset

    actor = find_actor(args)
    limits = {}
    for pair in args.limit:
        name, equals, value = pair.partition("=")
        if not equals:
            raise CommandEnd(f"--limit {pair} is not NAME=VALUE.", USAGE)
        limits[name] = value
    try:
        revision = save_toolset(
            project=find_project(args, actor),
            slug=args.name,
            tools=args.tool,
            corpus=args.corpus,
            limits=limits,
            image_digest=args.image_digest,
            address=args.address,
            title=args.title,
            message=args.message,
            author=actor,
        )
    except ToolsetRefused as refused:
        problems = [{"field": problem.field, "message": problem.message} for problem in refused.problems]
        raise CommandEnd(str(refused), REFUSED, problems) from refused
    return _describe(revision)


def write_corpus_file(args: argparse.Namespace) -> dict[str, Any]:
    from chanote.commands.finding import find_actor, find_project
    from chanote.datasets.models import DatasetVersion
    from chanote.datasets.selectors import find_version
    from chanote.tools.corpora import CorpusRefused, measure_corpus, write_corpus

    actor = find_actor(args)
    try:
        version = find_version(find_project(args, actor), args.dataset)
        facts = measure_corpus(version)
        write_corpus(version, args.out)
    except DatasetVersion.DoesNotExist as error:
        raise CommandEnd(str(error), NOT_FOUND) from error
    except CorpusRefused as refused:
        raise CommandEnd(f"{refused.problem.message}", REFUSED) from refused
    except OSError as error:
        raise CommandEnd(f"{args.out} cannot be written: {error.strerror}.", NOT_FOUND) from error
    return {"file": str(args.out), "sha256": facts.sha256, "sections": facts.sections, "laws": facts.laws}


def _describe(revision: Any) -> dict[str, Any]:
    return {
        "toolset": revision.reference,
        "tools": revision.tools,
        "corpus": revision.corpus.reference if revision.corpus else "",
        "corpus_sha256": revision.corpus_sha256,
        "limits": revision.limits,
        "image_digest": revision.image_digest,
        "address": revision.address,
    }
