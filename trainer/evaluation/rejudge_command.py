"""`python -m trainer rejudge`: judge answers that lie in a samples file once more, by another judge or other words,
without the model that wrote them."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from trainer.contract import ExitCode, TaskSpec
from trainer.contract.events import ScoredSample
from trainer.evaluation.conversations import Turn, Written, judge_items, name_turn, read_turns
from trainer.evaluation.errors import TaskError
from trainer.evaluation.task_file import CommandError, read_task
from trainer.evaluation.tasks import Item, read_rows, render_items

AT_ONCE = 32


def main(argv: list[str]) -> int:
    """Write the samples anew with the judgements of the task's judges; answers stay as they were."""
    parser = argparse.ArgumentParser(prog="python -m trainer rejudge", description=main.__doc__)
    parser.add_argument("--task", type=Path, required=True, help="judged task as YAML or JSON: who judges, and how")
    parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="the task's rows as JSON lines")
    parser.add_argument("--samples", type=Path, required=True, metavar="FILE", help="samples that hold the answers")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="where the new samples go")
    arguments = parser.parse_args(argv)
    try:
        task = read_task(arguments.task)
        samples = rejudge(task, arguments.data, read_samples(arguments.samples))
    except (CommandError, TaskError) as error:
        print(f"trainer rejudge: {error}", file=sys.stderr)
        return ExitCode.INVALID_SPEC
    except KeyboardInterrupt:
        return ExitCode.STOPPED
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    partial = arguments.out.with_name(f"{arguments.out.name}.partial")
    partial.write_text("".join(f"{one.model_dump_json()}\n" for one in samples), "utf-8")
    partial.replace(arguments.out)
    failed = sum(one.status == "left_out" for one in samples)
    print(json.dumps({"samples": len(samples), "judge_failed": failed, "out": str(arguments.out)}))
    return ExitCode.FINISHED


def read_samples(path: Path) -> dict[str, ScoredSample]:
    """By item; raises TaskError naming the line that is no sample."""
    found = {}
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise TaskError(f"--samples {path} cannot be read: {error.strerror}") from error
    for number, line in enumerate(lines, start=1):
        try:
            sample = ScoredSample.model_validate_json(line)
        except ValidationError as error:
            raise TaskError(
                f"--samples {path.name}, line {number}: no sample; take a file that was written whole"
            ) from (error)
        found[sample.item] = sample
    return found


def rejudge(task: TaskSpec, data: Path, samples: Mapping[str, ScoredSample]) -> list[ScoredSample]:
    """One sample for each turn of each item of the task. Raises TaskError where an answer is missing."""
    if task.judging is None:
        raise TaskError(f"{task.task} is of output_type {task.output_type}; only judged tasks have judges")
    items = render_items(task.model_copy(update={"chat": False}), read_rows(data), tokenizer=None)
    asked = [read_turns(task, item) for item in items]
    written = [_read_written(task, item, turns, samples) for item, turns in zip(items, asked, strict=True)]
    if problems := task.judging.unreachable():
        raise TaskError(f"{task.task}: {' '.join(problems)}")
    found: list[ScoredSample] = []
    for start in range(0, len(items), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        found += judge_items(task, items[part], asked[part], written[part])
    return found


def _read_written(
    task: TaskSpec, item: Item, turns: Sequence[Turn], samples: Mapping[str, ScoredSample]
) -> list[Written]:
    written = []
    for number in range(1, len(turns) + 1):
        name = name_turn(item, number, len(turns))
        if name not in samples:
            raise TaskError(
                f"{task.task}: the samples hold no answer to item {name}; take samples of a task with the same rows "
                "and questions"
            )
        one = samples[name]
        reason = str(one.detail.get("reason", "there is no answer")) if one.status == "error" else ""
        written.append(Written(one.output, one.tokens, one.status == "truncated", reason))
    return written
