"""`python -m trainer evaluate`: score a model directory on tasks, without platform and without run."""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from pydantic import ValidationError
from transformers import AutoModelForCausalLM, AutoTokenizer

from trainer.contract import ExitCode, TaskSpec
from trainer.contract.endpoints import Endpoint
from trainer.contract.events import ScoredSample
from trainer.contract.toolsets import ToolsetSpec
from trainer.evaluation.endpoint.asking import Asking
from trainer.evaluation.endpoint.evaluate import Price, Remote, score_remote_task
from trainer.evaluation.errors import TaskError
from trainer.evaluation.results import summarise, write_table
from trainer.evaluation.stage import score_task
from trainer.evaluation.task_file import CommandError, read_task
from trainer.failures import InvalidSpec, RunFailed

PROGRESS_SECONDS = 1.0
Tell = Callable[[int, int], None]
Score = Callable[[TaskSpec, Path, Path, Tell], list[ScoredSample]]
"""(task, rows, where samples go, progress) → samples."""


def main(argv: list[str]) -> int:
    """Score, print a table (or JSON), leave samples and `results.json` in the output folder."""
    arguments = _parser().parse_args(argv)
    try:
        tasks = [read_task(path) for path in arguments.task]
        data = dict(_read_pair(pair) for pair in arguments.data)
        files = [_find_data(task, data) for task in tasks]
        toolset = read_toolset(arguments.toolset, tasks)
        score = _remote_scorer(arguments, toolset) if arguments.endpoint else _local_scorer(arguments, toolset)
        results = [_score(task, file, score, arguments) for task, file in zip(tasks, files, strict=True)]
    except (CommandError, TaskError, InvalidSpec) as error:
        print(f"trainer evaluate: {error}", file=sys.stderr)
        return ExitCode.INVALID_SPEC
    except RunFailed as error:
        print(f"trainer evaluate: {error}", file=sys.stderr)
        return ExitCode.FAILED
    except KeyboardInterrupt:
        return ExitCode.STOPPED
    (arguments.out / "results.json").write_text(json.dumps(results, ensure_ascii=False, indent=2) + "\n", "utf-8")
    print(json.dumps(results, ensure_ascii=False) if arguments.json else write_table(results))
    return ExitCode.FINISHED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer evaluate", description=main.__doc__)
    parser.add_argument(
        "--model", required=True, help="Hugging Face checkpoint directory; with --endpoint the server's name of a model"
    )
    parser.add_argument("--task", type=Path, action="append", required=True, help="task as YAML or JSON; repeatable")
    parser.add_argument(
        "--data", action="append", default=[], metavar="NAME=FILE", help="rows of a dataset as JSON lines; repeatable"
    )
    parser.add_argument("--toolset", type=Path, metavar="FILE", help="tools of an agent: a toolset as YAML or JSON")
    parser.add_argument("--out", type=Path, required=True, help="folder for samples and results.json")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    remote = parser.add_argument_group("a model behind an endpoint, in place of a model directory")
    remote.add_argument("--endpoint", metavar="URL", help="OpenAI-compatible address up to and with /v1")
    remote.add_argument("--api-key-env", default="", metavar="VARIABLE", help="environment variable with its key")
    remote.add_argument(
        "--concurrency", type=_read_count, default=8, metavar="N", help="episodes or items at a time (8)"
    )
    remote.add_argument("--seconds", type=_read_amount, default=120.0, metavar="S", help="time for one call (120)")
    remote.add_argument("--attempts", type=_read_count, default=4, metavar="N", help="calls for one turn or item (4)")
    remote.add_argument(
        "--price", type=_read_price, metavar="IN,OUT", help="of a million tokens, read and written; tells the cost"
    )
    remote.add_argument("--extra", type=_read_extra, default={}, metavar="JSON", help="further fields of a request")
    return parser


def read_toolset(path: Path | None, tasks: Sequence[TaskSpec]) -> ToolsetSpec | None:
    """What an agent's tasks need; raises CommandError."""
    if path is None:
        if needing := [task.task for task in tasks if task.uses_tools]:
            raise CommandError(f"task {needing[0]} is answered with tools: add --toolset FILE.yaml")
        return None
    try:
        return ToolsetSpec.model_validate(yaml.safe_load(path.read_text("utf-8")))
    except OSError as error:
        raise CommandError(f"--toolset {path} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise CommandError(f"--toolset {path} is neither YAML nor JSON: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CommandError(f"--toolset {path}: {where + ': ' if where else ''}{first['msg']}") from error


def _read_count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"{text} is no whole number from 1 to 1000")
    return int(text)


def _read_amount(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no number from 0 on")
    return value


def _read_price(text: str) -> Price:
    prompt, _, completion = text.partition(",")
    return Price(_read_amount(prompt), _read_amount(completion))


def _read_extra(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON ({error})") from error
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError("not a JSON object")
    return found


def _read_pair(pair: str) -> tuple[str, Path]:
    name, found, file = pair.partition("=")
    if not found or not name or not file:
        raise CommandError(f"--data {pair}: write NAME=FILE.jsonl, NAME as in the task's dataset")
    return name, Path(file)


def _find_data(task: TaskSpec, data: dict[str, Path]) -> Path:
    for name in (task.dataset, task.dataset.partition("@")[0]):
        if name in data:
            if not data[name].is_file():
                raise CommandError(f"--data {name}={data[name]}: there is no such file")
            return data[name]
    raise CommandError(f"task {task.task} reads dataset {task.dataset}: add --data {task.dataset}=FILE.jsonl")


def _local_scorer(arguments: argparse.Namespace, toolset: ToolsetSpec | None) -> Score:
    model, tokenizer = load_model(Path(arguments.model), arguments.device)

    def score(task: TaskSpec, data: Path, path: Path, tell: Tell) -> list[ScoredSample]:
        samples = score_task(
            task,
            data,
            model=model,
            tokenizer=tokenizer,
            path=path,
            tell=tell,
            should_stop=lambda: False,
            toolset=toolset,
        )
        assert samples is not None
        return samples

    return score


def _remote_scorer(arguments: argparse.Namespace, toolset: ToolsetSpec | None) -> Score:
    try:
        endpoint = Endpoint(base_url=arguments.endpoint, api_key_env=arguments.api_key_env, model=arguments.model)
    except ValidationError as error:
        first = error.errors()[0]
        option = {"base_url": "--endpoint", "api_key_env": "--api-key-env", "model": "--model"}[str(first["loc"][0])]
        raise CommandError(f"{option}: {first['msg'].removeprefix('Value error, ')}") from error
    asking = Asking(endpoint, seconds=arguments.seconds, attempts=arguments.attempts, extra=arguments.extra)
    remote = Remote(asking, toolset, concurrency=arguments.concurrency, price=arguments.price)

    def score(task: TaskSpec, data: Path, path: Path, tell: Tell) -> list[ScoredSample]:
        return score_remote_task(task, data, remote, path=path, tell=tell)

    return score


def load_model(path: Path, device: str) -> tuple[Any, Any]:
    """Model and tokenizer from a directory, never from the network; single precision on a CPU."""
    if not (path / "config.json").is_file():
        raise CommandError(f"--model {path} is no Hugging Face checkpoint directory: it holds no config.json")
    if device == "cuda" and not torch.cuda.is_available():
        raise CommandError("--device cuda: no CUDA device is visible; use --device cpu")
    chosen = device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    dtype: Any = torch.float32 if chosen == "cpu" else "auto"
    model: Any = AutoModelForCausalLM.from_pretrained(path, local_files_only=True, dtype=dtype)
    return model.to(chosen), AutoTokenizer.from_pretrained(path, local_files_only=True)


def _score(task: TaskSpec, data: Path, score: Score, arguments: argparse.Namespace) -> dict[str, Any]:
    path = arguments.out / "evaluations" / f"{task.task}.jsonl"
    told = 0.0

    def tell(done: int, total: int) -> None:
        nonlocal told
        now = time.monotonic()
        if not arguments.json and (done in (0, total) or now - told >= PROGRESS_SECONDS):
            told = now
            print(f"{task.task}: {done} of {total}", file=sys.stderr)

    samples = score(task, data, path, tell)
    return summarise(task, samples, path.relative_to(arguments.out))
