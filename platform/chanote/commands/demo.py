"""`chanote demo`: load the made-up nation's law, launch the demo run, serve everything."""

import argparse

from chanote.commands import up


def add_parser(nouns: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser) -> None:
    parser = nouns.add_parser("demo", parents=[common], help="load the demo, launch its run and serve it")
    up.add_serving_arguments(parser)
    parser.add_argument("--load-only", action="store_true", help="load the demo; neither launch nor serve")
    parser.set_defaults(action=run)


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

    return up.serve(args, once_up=launch)
