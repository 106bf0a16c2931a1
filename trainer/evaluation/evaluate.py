"""Scoring one task, a few items at a time, and the mean that is reported for it."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from trainer.contract import TaskSpec
from trainer.contract.events import ScoredSample
from trainer.contract.toolsets import ToolsetSpec
from trainer.evaluation.outputs import output_types
from trainer.evaluation.tasks import Item, Row, render_items

CHUNK = 32


def evaluate_items(
    task: TaskSpec,
    rows: Sequence[Row],
    *,
    model: Any,
    tokenizer: Any,
    should_stop: Callable[[], bool],
    toolset: ToolsetSpec | None = None,
    name: str = "",
) -> tuple[list[Item], Iterator[ScoredSample]]:
    """The task's items and an iterator over their samples, in the same order. `toolset` is for agents, `name` what its
    service knows the evaluation by.

    Raises TaskError before the first sample; the iterator raises EvaluationInterrupted when asked to stop.
    """
    items = render_items(task, rows, tokenizer=tokenizer)
    output = output_types()[task.output_type](task, model=model, tokenizer=tokenizer, toolset=toolset, name=name)
    output.check(items)

    def answer() -> Iterator[ScoredSample]:
        for start in range(0, len(items), CHUNK):
            yield from output.answer(items[start : start + CHUNK], should_stop=should_stop)

    return items, answer()


def mean_score(task: TaskSpec, samples: Sequence[ScoredSample]) -> float:
    """Mean over items. An item without a score counts as 0, wrong, where more is better.

    Where less is better no finite score stands for a failure, so such items are left out, as those are everywhere that
    were not the model's fault; NaN when none is left.
    """
    counted = counted_samples(task, samples)
    return math.fsum(sample.score or 0.0 for sample in counted) / len(counted) if counted else math.nan


def counted_samples(task: TaskSpec, samples: Sequence[ScoredSample]) -> list[ScoredSample]:
    """Those that the mean is over."""
    return [
        sample
        for sample in samples
        if sample.status != "left_out" and (task.higher_is_better or sample.score is not None)
    ]
