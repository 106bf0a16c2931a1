"""`python -m toolsandbox serve | stdio | selftest | bench | corpus`."""

import argparse
import asyncio
import json
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from toolsandbox.settings import ServiceSettings
from toolsandbox.tools import ToolProvider

IDLE_SECONDS = 30
"""How long a connection may rest. Clients close theirs after five, which is the server's default, too: were they equal,
one might be closed under a request that is just being sent."""


def main(words: Sequence[str] | None = None) -> int:
    arguments = _parse(words)
    try:
        if arguments.command == "corpus":
            return make_corpus(arguments)
        settings = _read_settings(arguments)
        return {"serve": serve, "stdio": stdio, "selftest": selftest, "bench": bench}[arguments.command](
            settings, arguments
        )
    except ValidationError as error:
        print(f"toolsandbox: {error.errors()[0]['msg'].removeprefix('Value error, ')}", file=sys.stderr)
    except (ValueError, OSError) as error:
        print(f"toolsandbox: {error}", file=sys.stderr)
    return 2


def open_providers(settings: ServiceSettings) -> list[ToolProvider]:
    """What the settings ask for. Nothing is opened yet; `start` of each does that."""
    providers: list[ToolProvider] = []
    if settings.corpus is not None:
        from toolsandbox.law.dense import Embedder
        from toolsandbox.law.provider import LawTools

        embedder = None
        if settings.embeddings_url and settings.embeddings_model:
            embedder = Embedder(
                settings.embeddings_url,
                settings.embeddings_model,
                query_prefix=settings.embeddings_query_prefix,
                passage_prefix=settings.embeddings_passage_prefix,
            )
        tools = LawTools(settings.corpus, language=settings.language, folder=settings.index_folder, embedder=embedder)
        providers.append(tools)
    if settings.code:
        from toolsandbox.code import open_code_tools

        providers.append(open_code_tools(settings))
    return providers


def serve(settings: ServiceSettings, arguments: argparse.Namespace) -> int:
    import uvicorn

    from toolsandbox.logs import announce, configure_logs
    from toolsandbox.service import build_app

    configure_logs()
    providers = open_providers(settings)
    if not providers:
        raise ValueError("nothing to serve: give --corpus FILE.jsonl, or leave out --no-code")
    app = build_app(settings, providers)
    config = uvicorn.Config(
        app,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=10,
        timeout_keep_alive=IDLE_SECONDS,
    )
    with open_socket(settings.host, settings.port) as listening:
        announce(listening.getsockname())
        try:
            uvicorn.Server(config).run(sockets=[listening])
        except SystemExit as stopped:
            raise ValueError(app.refusal or "the service stopped while it started") from stopped
    return 0


def stdio(settings: ServiceSettings, arguments: argparse.Namespace) -> int:
    from toolsandbox.logs import configure_logs
    from toolsandbox.mcp import serve_stdio
    from toolsandbox.service import Service

    configure_logs()
    providers = open_providers(settings)
    asyncio.run(serve_stdio(Service(settings, providers), providers))
    return 0


def open_socket(host: str, port: int) -> socket.socket:
    """A listening socket of protocol TCP by name: asyncio switches Nagle's delay off for such sockets only, and without
    that every reply on a kept connection waits 40 ms for an acknowledgement."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(1024)
    except OSError as error:
        bound.close()
        raise ValueError(f"cannot listen on {host} port {port}: {error.strerror}") from error
    return bound


def selftest(settings: ServiceSettings, arguments: argparse.Namespace) -> int:
    """Start every provider as `serve` would, try its tools, and stop. 0 when nothing failed."""
    from toolsandbox.logs import configure_logs
    from toolsandbox.selftest import run_selftest

    configure_logs()
    return asyncio.run(run_selftest(open_providers(settings)))


def bench(settings: ServiceSettings, arguments: argparse.Namespace) -> int:
    from toolsandbox.law.bench import bench_laws

    if settings.corpus is None:
        raise ValueError("give --corpus FILE.jsonl")
    print(json.dumps(bench_laws(settings, rulings=arguments.rulings, seconds=arguments.seconds), indent=1))
    return 0


def make_corpus(arguments: argparse.Namespace) -> int:
    from toolsandbox.law.gesetze import write_corpus

    print(f"{write_corpus(arguments.laws, arguments.out)} sections written to {arguments.out}")
    return 0


def _parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m toolsandbox", description="Tools for policies that sample.")
    commands = parser.add_subparsers(dest="command", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--corpus", type=Path, metavar="FILE.jsonl", help="one section per line")
    shared.add_argument("--language", help="of the corpus: th, de, ...; told from its letters when left out")
    shared.add_argument("--index-folder", type=Path, help="where built indexes are kept")
    shared.add_argument("--embeddings-url", help="a local model's /v1/embeddings, as a third signal of search")
    shared.add_argument("--embeddings-model", help="its name there")
    shared.add_argument("--embeddings-query-prefix", metavar="TEXT", help="put before queries, such as 'query: '")
    shared.add_argument("--embeddings-passage-prefix", metavar="TEXT", help="put before sections, such as 'passage: '")
    shared.add_argument("--no-code", action="store_true", help="law tools only")
    shared.add_argument("--code-settings-file", type=Path, metavar="FILE.toml", help="limits of the code tools")
    server = commands.add_parser("serve", parents=[shared], help="serve until stopped")
    server.add_argument("--host", default="127.0.0.1")
    server.add_argument("--port", type=int, default=8930)
    server.add_argument("--token-file", type=Path, help="lines tenant:token; needed unless bound to loopback")
    commands.add_parser("stdio", parents=[shared], help="an MCP server on standard input and output")
    commands.add_parser("selftest", parents=[shared], help="try everything once and leave")
    measured = commands.add_parser("bench", parents=[shared], help="measure the law tools on this machine")
    measured.add_argument("--rulings", type=Path, metavar="FILE.jsonl", help="questions with relevant_laws")
    measured.add_argument("--seconds", type=float, default=10.0)
    made = commands.add_parser("corpus", help="make a corpus file from German laws in Markdown")
    made.add_argument("laws", type=Path, nargs="+", metavar="LAW.md")
    made.add_argument("--out", type=Path, required=True, metavar="FILE.jsonl")
    return parser.parse_args(words)


def _read_settings(arguments: argparse.Namespace) -> ServiceSettings:
    given = {
        name: value for name in ServiceSettings.model_fields if (value := getattr(arguments, name, None)) is not None
    }
    return ServiceSettings(code=not arguments.no_code, **given)


if __name__ == "__main__":
    sys.exit(main())
