"""`python -m trainer evaluate`: score a model directory on tasks, without platform and without run."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
import yaml
from pydantic import ValidationError
from transformers import AutoModelForCausalLM, AutoTokenizer

from trainer.contract import ExitCode, TaskSpec
from trainer.contract.events import ScoredSample
from trainer.evaluation.errors import TaskError
from trainer.evaluation.evaluate import mean_score
from trainer.evaluation.interval import mean_interval
from trainer.evaluation.stage import score_task


class CommandError(Exception):
    """The command line asks for something that is not there; the message says what and what to do."""


def main(argv: list[str]) -> int:
    """Score, print a table (or JSON), leave samples and `results.json` in the output folder."""
    arguments = _parser().parse_args(argv)
    try:
        tasks = [read_task(path) for path in arguments.task]
        data = dict(_read_pair(pair) for pair in arguments.data)
        files = [_find_data(task, data) for task in tasks]
        model, tokenizer = load_model(arguments.model, arguments.device)
        results = [
            _score(task, file, model, tokenizer, arguments.out, quiet=arguments.json)
            for task, file in zip(tasks, files, strict=True)
        ]
    except (CommandError, TaskError) as error:
        print(f"trainer evaluate: {error}", file=sys.stderr)
        return ExitCode.INVALID_SPEC
    except KeyboardInterrupt:
        return ExitCode.STOPPED
    (arguments.out / "results.json").write_text(json.dumps(results, ensure_ascii=False, indent=2) + "\n", "utf-8")
    print(json.dumps(results, ensure_ascii=False) if arguments.json else _table(results))
    return ExitCode.FINISHED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer evaluate", description=main.__doc__)
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face checkpoint directory")
    parser.add_argument("--task", type=Path, action="append", required=True, help="task as YAML or JSON; repeatable")
    parser.add_argument(
        "--data", action="append", default=[], metavar="NAME=FILE", help="rows of a dataset as JSON lines; repeatable"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for samples and results.json")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


def read_task(path: Path) -> TaskSpec:
    """A task from YAML or JSON; raises CommandError naming file, field and fault."""
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise CommandError(f"--task {path} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise CommandError(f"--task {path} is neither YAML nor JSON: {error}") from error
    try:
        return TaskSpec.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CommandError(f"--task {path}: {where + ': ' if where else ''}{first['msg']}") from error


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


def _score(task: TaskSpec, data: Path, model: Any, tokenizer: Any, out: Path, *, quiet: bool) -> dict[str, Any]:
    path = out / "evaluations" / f"{task.task}.jsonl"

    def tell(done: int, total: int) -> None:
        if not quiet:
            print(f"{task.task}: {done} of {total}", file=sys.stderr)

    samples = score_task(task, data, model=model, tokenizer=tokenizer, path=path, tell=tell, should_stop=lambda: False)
    assert samples is not None
    return summarise(task, samples, path.relative_to(out))


def summarise(task: TaskSpec, samples: list[ScoredSample], path: Path) -> dict[str, Any]:
    """What the table shows for one task."""
    mean = mean_score(task, samples)
    interval = mean_interval(task, samples)
    return {
        "task": task.task,
        "metric": task.metric,
        "higher_is_better": task.higher_is_better,
        "mean": mean if mean == mean else None,
        "interval": None if interval is None else list(interval),
        "n": len(samples),
        "failed": sum(sample.status != "ok" for sample in samples),
        "samples": path.as_posix(),
    }


def _table(results: list[dict[str, Any]]) -> str:
    rows = [("task", "metric", "mean", "95 % interval", "n", "failed")]
    for result in results:
        interval = result["interval"]
        rows.append(
            (
                result["task"],
                result["metric"],
                "none" if result["mean"] is None else f"{result['mean']:.3f}",
                "none" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}",
                str(result["n"]),
                str(result["failed"]),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
