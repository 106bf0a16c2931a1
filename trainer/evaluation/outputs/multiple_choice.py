"""Multiple choice: each option's log-likelihood after the prompt, the metric picks."""

import math
from collections.abc import Callable, Sequence

from trainer.contract.events import ScoredSample
from trainer.evaluation.likelihood import Continuation, score_continuations
from trainer.evaluation.metrics.base import ChoiceMetric
from trainer.evaluation.outputs.base import OutputType
from trainer.evaluation.tasks import Item, answer_delimiter, encode_prompt
from trainer.sampling.end_tokens import context_length


class MultipleChoice(OutputType):
    """log p(option | prompt), summed over the option's tokens with the delimiter before it."""

    name = "multiple_choice"
    metric_class = ChoiceMetric

    def answer(self, items: Sequence[Item], *, should_stop: Callable[[], bool]) -> list[ScoredSample]:
        context = context_length(self.model)
        options = [self.encode_options(item) for item in items]
        fits = [context is None or max(len(option.ids) for option in group) <= context for group in options]
        asked = [option for group, fit in zip(options, fits, strict=True) if fit for option in group]
        scores = iter(score_continuations(self.model, asked))
        samples = []
        for item, group, fit in zip(items, options, fits, strict=True):
            if fit:
                samples.append(self._judge(item, [math.fsum(next(scores)) for _ in group], group))
            else:
                longest = max(len(option.ids) for option in group)
                samples.append(_fail(item, f"prompt and option have {longest} tokens, the context is {context}"))
        return samples

    def encode_options(self, item: Item) -> list[Continuation]:
        """Token ids of prompt and option, per option.

        Prompt and option are encoded together, as a model has seen text; where that would merge the last token of the
        prompt with the option, all options of the item are encoded apart, so that they stay comparable.
        """
        delimiter = answer_delimiter(self.task, item.prompt)
        special = not self.task.chat
        prompt = encode_prompt(self.task, item.prompt, self.tokenizer)
        texts = [delimiter + choice for choice in item.choices]
        joined = [self.tokenizer.encode(item.prompt + text, add_special_tokens=special) for text in texts]
        apart = not all(ids[: len(prompt)] == prompt and len(ids) > len(prompt) for ids in joined)
        if apart:
            joined = [prompt + self.tokenizer.encode(text, add_special_tokens=False) for text in texts]
        return [Continuation(tuple(ids), len(prompt)) for ids in joined]

    def _judge(self, item: Item, loglikelihoods: list[float], group: list[Continuation]) -> ScoredSample:
        if not all(math.isfinite(value) for value in loglikelihoods):
            return _fail(item, "the model gave a log-likelihood that is not a finite number")
        chosen = self.metric.choose(loglikelihoods, item.choices)
        return ScoredSample(
            item=item.id,
            cluster=item.cluster,
            prompt=item.prompt,
            output=item.choices[chosen],
            target=item.target,
            score=float(chosen == item.answer),
            status="ok",
            tokens=sum(len(option.ids) - option.start for option in group),
            detail={"loglikelihoods": loglikelihoods, "chosen": chosen, "answer": item.answer or 0},
        )


def _fail(item: Item, reason: str) -> ScoredSample:
    return ScoredSample(
        item=item.id,
        cluster=item.cluster,
        prompt=item.prompt,
        output="",
        target=item.target,
        score=None,
        status="error",
        detail={"reason": reason},
    )
