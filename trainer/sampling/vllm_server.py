"""A vLLM server whose weights a trainer replaces.

    python -m trainer.sampling.vllm_server MODEL [--port 8001] [--max-model-len 4096] [further arguments of vLLM]

MODEL is a directory of which only config and tokenizer are read: the weights come from the trainer, and until then
they are random. Use the base of the run, or a checkpoint of the same shape. The server listens on this machine alone:
whoever reaches it can replace its weights. To serve a trainer elsewhere, name a protected address by --host.
"""

import importlib.util
import os
import sys

from trainer.sampling.vllm_client import MODEL
from trainer.sampling.vllm_worker import EXTENSION

ENVIRONMENT = {
    # The routes by which weights are replaced and caches emptied.
    "VLLM_SERVER_DEV_MODE": "1",
    # It would report to its makers otherwise.
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
}
ARGUMENTS = {
    "--host": "127.0.0.1",
    "--port": "8001",
    "--served-model-name": MODEL,
    "--load-format": "dummy",
    "--logprobs-mode": "processed_logprobs",
    "--generation-config": "vllm",
    "--worker-extension-cls": EXTENSION,
}


def server_command(model: str, further: list[str]) -> list[str]:
    """The command line; what is named in `further` replaces what is set here."""
    named = {argument.partition("=")[0] for argument in further}
    ours = [part for name, value in ARGUMENTS.items() if name not in named for part in (name, value)]
    program = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model]
    return [*program, "--enable-prefix-caching", *ours, *further]


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0].startswith("-"):
        print(__doc__)
        return 0 if arguments in (["-h"], ["--help"]) else 2
    if importlib.util.find_spec("vllm") is None:
        print(
            "vLLM is not installed here; install it beside the trainer: pip install 'chanote[vllm]'.", file=sys.stderr
        )
        return 2
    command = server_command(arguments[0], arguments[1:])
    os.execve(command[0], command, {**os.environ, **ENVIRONMENT})  # noqa: S606 - the arguments are a list
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
