"""`python -m trainer rescore`: stored answers judged anew by a changed metric, filter or reference, without a model."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trainer.contract import ExitCode, TaskSpec
from trainer.contract.events import ScoredSample
from trainer.contract.hashing import hash_file
from trainer.contract.rescoring import find_changed_questions
from trainer.evaluation.command import CommandError, read_task
from trainer.evaluation.errors import TaskError
from trainer.evaluation.outputs.generate import GenerateUntil, judge_answer
from trainer.evaluation.outputs.multiple_choice import MultipleChoice
from trainer.evaluation.results import summarise, write_table
from trainer.evaluation.tasks import Item, read_rows, render_items

CUT = ("length", "context")
Judge = Callable[[Item, ScoredSample], list[ScoredSample]]


def main(argv: list[str]) -> int:
    """Judge the answers of a samples file by a changed task; the file stays as it is, and another is written."""
    arguments = _parser().parse_args(argv)
    try:
        was, now = read_task(arguments.was), read_task(arguments.task)
        samples = score_again(was, now, read_samples(arguments.samples), arguments.data)
    except (CommandError, TaskError) as error:
        print(f"trainer rescore: {error}", file=sys.stderr)
        return ExitCode.INVALID_SPEC
    path = arguments.out / "evaluations" / f"{now.task}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    named = {"rescored_from": hash_file(arguments.samples)}
    partial = path.with_suffix(".jsonl.partial")
    with partial.open("w", encoding="utf-8") as file:
        for sample in samples:
            file.write(sample.model_copy(update={"detail": sample.detail | named}).model_dump_json() + "\n")
    partial.replace(path)
    result = summarise(now, samples, path.relative_to(arguments.out))
    print(json.dumps([result], ensure_ascii=False) if arguments.json else write_table([result]))
    return ExitCode.FINISHED


def score_again(was: TaskSpec, now: TaskSpec, given: Sequence[ScoredSample], data: Path) -> list[ScoredSample]:
    """Samples of `now` in the order of its rows; raises TaskError where the answers are none to its questions."""
    if reasons := find_changed_questions(was, now):
        raise TaskError(" ".join(reasons))
    items = render_items(now, read_rows(data), tokenizer=None, as_messages=True)
    answers = _find_answers(items, given)
    if missing := next((item.id for item in items if item.id not in answers), None):
        raise TaskError(f"--samples: item {missing} of the rows has no answer; give the rows that were asked")
    if len(answers) < len({_item_of(one, {item.id for item in items}) for one in given}):
        raise TaskError("--samples: holds answers to items that the rows do not have; give the rows that were asked")
    for item in items:
        if item.question not in answers[item.id].prompt:
            raise TaskError(f"--samples: item {item.id} was asked something else than the rows say")
    judge = _open_judge(now, items)
    return [sample for item in items for sample in _judge_one(judge, item, answers[item.id])]


def _judge_one(judge: Judge, item: Item, sample: ScoredSample) -> list[ScoredSample]:
    """What was never answered has nothing to be judged."""
    if sample.status == "left_out" or (sample.status == "error" and not sample.output):
        return [sample.model_copy(update={"item": item.id, "target": item.target})]
    return [one.model_copy(update={"prompt": sample.prompt}) for one in judge(item, sample)]


def _open_judge(task: TaskSpec, items: Sequence[Item]) -> Judge:
    if task.output_type == "multiple_choice":
        choose = MultipleChoice(task, model=None, tokenizer=None).metric.choose
        return lambda item, sample: [_choose(choose, item, sample)]
    output = GenerateUntil(task, model=None, tokenizer=None)
    output.check(items)

    def judge(item: Item, sample: ScoredSample) -> list[ScoredSample]:
        reason = sample.detail.get("stop_reason", "")
        cut = reason in CUT if reason else sample.status == "truncated"
        told: Mapping[str, Any] = {"stop_reason": reason} if reason else {}
        return judge_answer(task, output.metric, item, sample.output, cut=cut, tokens=sample.tokens, detail=told)

    return judge


def _choose(choose: Callable[..., int], item: Item, sample: ScoredSample) -> ScoredSample:
    values = sample.detail.get("loglikelihoods")
    if not isinstance(values, list) or len(values) != len(item.choices):
        raise TaskError(f"--samples: item {item.id} has no log-likelihood for each of its {len(item.choices)} options")
    chosen = choose(values, item.choices)
    return sample.model_copy(
        update={
            "output": item.choices[chosen],
            "target": item.target,
            "score": float(chosen == item.answer),
            "detail": {**sample.detail, "chosen": chosen, "answer": item.answer or 0},
        }
    )


def _find_answers(items: Sequence[Item], given: Sequence[ScoredSample]) -> dict[str, ScoredSample]:
    """By item; where a metric made several samples of one answer, the first holds it as well as the others."""
    known = {item.id for item in items}
    found: dict[str, ScoredSample] = {}
    for sample in given:
        if (name := _item_of(sample, known)) in known:
            found.setdefault(name, sample)
    return found


def _item_of(sample: ScoredSample, known: set[str]) -> str:
    return sample.item if sample.item in known else sample.item.rpartition("/")[0] or sample.item


def read_samples(path: Path) -> list[ScoredSample]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise CommandError(f"--samples {path} cannot be read: {error.strerror}") from error
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(ScoredSample.model_validate_json(line))
        except ValidationError as error:
            raise CommandError(f"--samples {path}, line {number}: is no sample of `trainer evaluate`") from error
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer rescore", description=main.__doc__)
    parser.add_argument("--samples", type=Path, required=True, help="a file below evaluations/ of `trainer evaluate`")
    parser.add_argument("--was", type=Path, required=True, help="the task that was answered")
    parser.add_argument("--task", type=Path, required=True, help="the task to score by")
    parser.add_argument("--data", type=Path, required=True, help="the rows that were asked, as JSON lines")
    parser.add_argument("--out", type=Path, required=True, help="folder for the new samples")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser
