"""`chanote demo`: load the made-up nation's law, launch the demo run, serve everything."""

import argparse
import sys
from typing import TYPE_CHECKING

from django.conf import settings

from chanote.commands import up

if TYPE_CHECKING:
    from chanote.accounts.models import Project
    from chanote.tools.serving import Service


def add_parser(nouns: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser) -> None:
    parser = nouns.add_parser("demo", parents=[common], help="load the demo, launch its run and serve it")
    up.add_serving_arguments(parser)
    parser.add_argument("--load-only", action="store_true", help="load the demo; neither launch nor serve")
    parser.set_defaults(action=run)


def prepare_tools(project: "Project") -> "Service | None":
    """A tool service over the demo's law, unless the settings name one or ask for none by CHANOTE_SANDBOX_CORPUS=0.

    The demo does without it: what keeps it from starting is said and no more.
    """
    from chanote.datasets.selectors import find_version
    from chanote.tools.serving import ServiceRefused, prepare_service
    from trainer.demoworld.catalogue import TOOLSET

    if settings.SANDBOX_ADDRESSES or settings.SANDBOX_CORPUS == "0":
        return None
    if settings.SANDBOX_CORPUS:
        return up.prepare_tools()
    try:
        return prepare_service(find_version(project, TOOLSET["corpus"]))
    except ServiceRefused as refused:
        print(f"{refused} The demo goes on without tools.", file=sys.stderr, flush=True)
        return None


def run(args: argparse.Namespace) -> int:
    from chanote.commands.finding import find_actor
    from chanote.demo import launch_demo, load_demo

    up.prepare(args)
    actor = find_actor(args)
    project = load_demo(actor)
    if args.load_only:
        return 0

    def launch() -> None:
        run = launch_demo(project, actor)
        if run is not None:
            page = f"http://{args.host}:{args.port}/p/{project.slug}/runs/{run.number}/"
            print(f"The demo run is queued: {page}", flush=True)

    return up.serve(args, once_up=launch, tools=prepare_tools(project))
