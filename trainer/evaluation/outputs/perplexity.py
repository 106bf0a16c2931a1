"""Log-likelihood of whole texts, in windows where a text is longer than the model's context."""

import math
from collections.abc import Callable, Sequence

from trainer.contract.events import ScoredSample
from trainer.evaluation.likelihood import Continuation, score_continuations
from trainer.evaluation.metrics.base import TextMetric
from trainer.evaluation.outputs.base import OutputType
from trainer.evaluation.tasks import Item, encode_prompt, start_token
from trainer.sampling.end_tokens import context_length


class LoglikelihoodRolling(OutputType):
    """log p(target | prompt). Without a prompt the first token is predicted from the begin or end token."""

    name = "loglikelihood_rolling"
    metric_class = TextMetric

    def answer(self, items: Sequence[Item], *, should_stop: Callable[[], bool]) -> list[ScoredSample]:
        windows = [self._windows(item) for item in items]
        scores = iter(score_continuations(self.model, [window for group in windows for window in group]))
        samples = []
        for item, group in zip(items, windows, strict=True):
            values = [value for _ in group for value in next(scores)]
            samples.append(self._judge(item, values))
        return samples

    def _windows(self, item: Item) -> list[Continuation]:
        if item.prompt:
            start = encode_prompt(self.task, item.prompt, self.tokenizer)
        else:
            start = [start_token(self.task, self.tokenizer)]
        text = self.tokenizer.encode(item.target, add_special_tokens=False)
        return roll_windows([*start, *text], first=len(start), context=context_length(self.model))

    def _judge(self, item: Item, values: list[float]) -> ScoredSample:
        total = math.fsum(values)
        reason = ""
        if not item.target:
            reason = "the text is empty"
        elif not math.isfinite(total):
            reason = "the model gave a log-likelihood that is not a finite number"
        return ScoredSample(
            item=item.id,
            cluster=item.cluster,
            prompt=item.prompt,
            output="",
            target=item.target,
            score=None if reason else self.metric.measure(total, item.target),
            status="error" if reason else "ok",
            tokens=len(values),
            detail={"reason": reason} if reason else {"loglikelihood": total},
        )


def roll_windows(ids: Sequence[int], *, first: int, context: int | None) -> list[Continuation]:
    """Windows of at most `context` tokens that score each of `ids[first:]` once.

    From the second window on, half of a window is context: every token but the text's first ones is predicted from at
    least half a context of tokens before it.
    """
    if context is None or len(ids) <= context:
        return [Continuation(tuple(ids), first)] if len(ids) > first else []
    half = max(context // 2, 1)
    windows, scored = [], first
    begin = 0 if first < context else first - half
    while scored < len(ids):
        end = min(begin + context, len(ids))
        windows.append(Continuation(tuple(ids[begin:end]), scored - begin))
        scored, begin = end, end - half
    return windows
