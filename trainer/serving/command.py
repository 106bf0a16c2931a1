"""`python -m trainer serve MODEL`: one checkpoint behind OpenAI's API, until SIGTERM or Ctrl-C.

On standard error a line of JSON says `listening` with the port, and one says `serving` once requests are answered.
"""

import argparse
import importlib.util
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from trainer.contract import ExitCode
from trainer.failures import InvalidSpec
from trainer.serving.tokens import read_tokens

LONGEST_BY_DEFAULT = 8192
"""Tokens of prompt and completion: keys and values of every completion in work are reserved for as many."""
IDLE_SECONDS = 30
"""How long a connection may rest. Clients close theirs after five, which is the server's default, too: were they equal,
one might be closed under a request that is just being sent."""
NEEDED = ("starlette", "uvicorn")


class CannotServe(Exception):
    """A sentence with the way out."""


def main(words: list[str]) -> int:
    arguments = _parser().parse_args(words)
    try:
        tokens = _check(arguments)
        chosen = choose_engine(arguments.engine)
        say("starting", engine=chosen, model=arguments.name)
        if chosen == "vllm":
            from trainer.serving.vllm import serve_by_vllm

            return serve_by_vllm(arguments, tokens)
        return _serve_by_torch(arguments, tokens)
    except (CannotServe, InvalidSpec) as error:
        print(f"trainer serve: {error}", file=sys.stderr)
        return ExitCode.INVALID_SPEC
    except KeyboardInterrupt:
        return ExitCode.FINISHED


def say(event: str, **facts: Any) -> None:
    print(json.dumps({"event": event, **facts}, ensure_ascii=False), file=sys.stderr, flush=True)


def choose_engine(wanted: str) -> str:
    """`auto`: vLLM where it is installed, else torch."""
    there = importlib.util.find_spec("vllm") is not None
    if wanted == "vllm" and not there:
        raise CannotServe(
            "--engine vllm: vLLM is not installed here; install it (pip install 'chanote[vllm]') or use torch."
        )
    if wanted == "auto":
        wanted = "vllm" if there else "torch"
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if wanted == "torch" and missing:
        raise CannotServe(f"{' and '.join(missing)} is not installed here; run: pip install 'chanote[serving]'.")
    return wanted


def open_socket(host: str, port: int) -> socket.socket:
    """A listening socket, taken before the model is read. TCP by name, so that asyncio switches Nagle's delay off."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(1024)
    except (OSError, OverflowError) as error:
        bound.close()
        reason = getattr(error, "strerror", None) or error
        raise CannotServe(f"cannot listen on {host} port {port}: {reason}; choose another --port.") from error
    return bound


def end_with_input(stop: Callable[[], None]) -> None:
    """Call `stop` when standard input closes: who started the server has ended, however it ended."""

    def watch() -> None:
        # Not through `sys.stdin`: a thread that holds its lock aborts the interpreter's end.
        while os.read(0, 4096):
            pass
        stop()

    threading.Thread(target=watch, name="input", daemon=True).start()


def _serve_by_torch(arguments: argparse.Namespace, tokens: list[bytes]) -> int:
    import logging

    import uvicorn

    from trainer.serving.app import Served, build_app
    from trainer.serving.policy import open_sampler, read_policy

    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    with open_socket(arguments.host, arguments.port) as listening:
        say("listening", host=arguments.host, port=listening.getsockname()[1])
        policy = read_policy(arguments.model, device=arguments.device)
        sampler = open_sampler(policy, context=arguments.context, places=arguments.concurrency, waiting=arguments.queue)
        from trainer.serving.conversation import Writer

        writer = Writer(policy.tokenizer, tell_tools=not arguments.untold_tools)
        app = build_app(Served(arguments.name, sampler, writer), tokens=tokens)
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=arguments.grace,
                timeout_keep_alive=IDLE_SECONDS,
            )
        )

        def stop(*_: object) -> None:
            server.should_exit = True

        # uvicorn raises the signals anew that it caught; here they have done their work by then.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        if arguments.end_with_input:
            end_with_input(stop)
        say("serving", context=sampler.context, places=sampler.places, model=arguments.name, engine="torch")
        server.run(sockets=[listening])
    say("stopped")
    return ExitCode.FINISHED


def _check(arguments: argparse.Namespace) -> list[bytes]:
    """The tokens that open the server; raises CannotServe."""
    if not (arguments.model / "config.json").is_file():
        raise CannotServe(f"{arguments.model} is no checkpoint: it holds no config.json; name the directory that does.")
    arguments.model = arguments.model.resolve()
    if not arguments.name:
        is_run = arguments.model.name == "model" and arguments.model.parent.name.startswith("step-")
        arguments.name = arguments.model.parent.name if is_run else arguments.model.name
    try:
        tokens = read_tokens(arguments.token_file) if arguments.token_file else []
    except (OSError, ValueError) as error:
        raise CannotServe(f"--token-file: {getattr(error, 'strerror', None) or error}.") from error
    if not tokens and not _is_loopback(arguments.host):
        raise CannotServe(f"--host {arguments.host} can be reached by others; name a --token-file.")
    return tokens


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is below 1")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer serve", description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path, metavar="MODEL", help="checkpoint directory with weights and tokenizer")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8940, help="0 takes a free one (default 8940)")
    parser.add_argument("--name", default="", help="by which requests call the model (default: the directory's)")
    parser.add_argument("--token-file", type=Path, help="lines TOKEN or NAME:TOKEN; needed unless bound to loopback")
    parser.add_argument("--engine", choices=["auto", "torch", "vllm"], default="auto")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="of the torch engine")
    parser.add_argument(
        "--context",
        type=_positive,
        help=f"tokens of prompt and completion (default: the model's, at most {LONGEST_BY_DEFAULT})",
    )
    parser.add_argument("--concurrency", type=_positive, default=32, help="completions in work at a time (default 32)")
    parser.add_argument("--queue", type=int, default=256, help="completions that may wait; more get 429 (default 256)")
    parser.add_argument("--grace", type=int, default=10, help="seconds for open requests at the end (default 10)")
    parser.add_argument(
        "--untold-tools",
        action="store_true",
        help="do not describe tools in prompts: for a policy that was trained so (tell_tools: false)",
    )
    parser.add_argument("--end-with-input", action="store_true", help="stop when standard input closes")
    return parser
