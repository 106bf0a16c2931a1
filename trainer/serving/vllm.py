"""vLLM's own OpenAI server, started with the checkpoint as this project serves it."""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from trainer.contract import ExitCode
from trainer.data.chat import CHATML
from trainer.data.templates import find_template
from trainer.failures import InvalidSpec
from trainer.sampling.vllm_server import ENVIRONMENT
from trainer.serving.command import LONGEST_BY_DEFAULT, CannotServe, end_with_input, open_socket, say

END_SECONDS = 20.0
QUIET = {name: value for name, value in ENVIRONMENT.items() if name != "VLLM_SERVER_DEV_MODE"}
"""Without the routes by which a trainer replaces weights."""


def vllm_command(arguments: argparse.Namespace, *, port: int, template: Path | None, context: int) -> list[str]:
    """Keys are not on it: whoever lists processes reads command lines."""
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(arguments.model)]
    command += ["--served-model-name", arguments.name, "--host", arguments.host, "--port", str(port)]
    command += ["--enable-auto-tool-choice", "--tool-call-parser", "hermes", "--max-model-len", str(context)]
    # What a request does not say is OpenAI's default, not the model's; log-probabilities are those that are drawn by.
    command += ["--generation-config", "vllm", "--logprobs-mode", "processed_logprobs"]
    command += ["--max-num-seqs", str(arguments.concurrency), "--disable-uvicorn-access-log"]
    if template is not None:
        command += ["--chat-template", str(template)]
    if arguments.device == "cpu":
        command += ["--dtype", "float32", "--enforce-eager"]
    return command


def serve_by_vllm(arguments: argparse.Namespace, tokens: list[bytes]) -> int:
    """Until vLLM ends or is told to; vLLM itself says when it serves, by /health."""
    from transformers import AutoConfig

    from trainer.tokenizer import load_tokenizer

    if arguments.untold_tools:
        raise CannotServe("--untold-tools: vLLM describes tools in every prompt; use --engine torch for such a policy.")
    config = AutoConfig.from_pretrained(arguments.model, local_files_only=True).get_text_config()
    own = int(getattr(config, "max_position_embeddings", None) or LONGEST_BY_DEFAULT)
    tokenizer = load_tokenizer(arguments.model)
    with tempfile.TemporaryDirectory() as folder:
        template = None
        if tokenizer.chat_template is None:
            try:
                template = Path(folder) / "template.jinja"
                template.write_text(str(find_template(tokenizer) or CHATML))
            except InvalidSpec:
                template = None
        with open_socket(arguments.host, arguments.port) as free:
            port = free.getsockname()[1]
        command = vllm_command(
            arguments, port=port, template=template, context=arguments.context or min(own, LONGEST_BY_DEFAULT)
        )
        environment = {**os.environ, **QUIET}
        if tokens:
            environment["VLLM_API_KEY"] = tokens[0].decode()
        say("listening", host=arguments.host, port=port)
        # A session of its own, so that its workers end with it.
        program = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True)
        asked = False

        def stop(*_: object) -> None:
            nonlocal asked
            asked = True
            if program.poll() is None:
                program.terminate()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        if arguments.end_with_input:
            end_with_input(stop)
        code = _wait(program, lambda: asked)
    say("stopped")
    return ExitCode.FINISHED if asked else ExitCode.FAILED if code else ExitCode.FINISHED


def _wait(program: "subprocess.Popen[bytes]", asked: Callable[[], bool]) -> int:
    """Its exit code; ends it and its workers by force when it does not stop in time."""
    while not asked():
        try:
            return program.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            continue
    try:
        program.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        say("killed", reason=f"vLLM did not stop within {END_SECONDS:g} s")
    with contextlib.suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGKILL)
    return program.wait()
