"""Generate until the model ends its answer; the metric compares it with the reference."""

from collections.abc import Callable, Sequence

from trainer.contract.events import ScoredSample
from trainer.evaluation.errors import EvaluationInterrupted, TaskError
from trainer.evaluation.metrics.base import AnswerMetric
from trainer.evaluation.outputs.base import OutputType
from trainer.evaluation.tasks import Item, encode_prompt
from trainer.sampling import Completion, SamplingRequest, StopReason, TorchEngine
from trainer.sampling.randomness import seed_for


class GenerateUntil(OutputType):
    """One completion per item. An item's draw is fixed by the task's seed and the item's id."""

    name = "generate_until"
    metric_class = AnswerMetric

    def check(self, items: Sequence[Item]) -> None:
        for item in items:
            if reason := self.metric.check_target(item.target):
                raise TaskError(f"{self.task.task}, item {item.id}: the target {item.target[:60]!r} {reason}")

    def answer(self, items: Sequence[Item], *, should_stop: Callable[[], bool]) -> list[ScoredSample]:
        engine = TorchEngine(self.model, self.tokenizer)
        settings = self.task.generation_kwargs
        prompts = [encode_prompt(self.task, item.prompt, self.tokenizer) for item in items]
        requests = [
            SamplingRequest(
                prompt_ids=tuple(prompt),
                max_new_tokens=settings.max_gen_toks,
                temperature=settings.temperature,
                top_p=settings.top_p,
                seed=seed_for(settings.seed, item.id),
                stop=tuple(settings.until),
            )
            for item, prompt in zip(items, prompts, strict=True)
            if engine.context is None or len(prompt) < engine.context
        ]
        completions = iter(engine.sample(requests, should_stop=should_stop))
        samples = []
        for item, prompt in zip(items, prompts, strict=True):
            if engine.context is not None and len(prompt) >= engine.context:
                reason = f"the prompt has {len(prompt)} tokens, the context is {engine.context}"
                samples.append(_sample(item, score=None, status="error", detail={"reason": reason}))
                continue
            samples.append(self._judge(item, next(completions)))
        return samples

    def _judge(self, item: Item, completion: Completion) -> ScoredSample:
        if completion.stop_reason is StopReason.INTERRUPTED:
            raise EvaluationInterrupted
        judgement = self.metric.judge(completion.text, item.target)
        cut = completion.stop_reason in (StopReason.LENGTH, StopReason.CONTEXT)
        return _sample(
            item,
            output=completion.text,
            score=judgement.score,
            # What was cut is named first: with more room a number might still have come.
            status="truncated" if cut else judgement.status,
            tokens=len(completion.token_ids),
            detail={"stop_reason": completion.stop_reason.value},
        )


def _sample(item: Item, *, output: str = "", **values: object) -> ScoredSample:
    fields = {"item": item.id, "cluster": item.cluster, "prompt": item.prompt, "target": item.target, "output": output}
    return ScoredSample.model_validate({**fields, **values})
