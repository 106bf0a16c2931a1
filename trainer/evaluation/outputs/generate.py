"""Generate until the model ends its answer; the metric compares it with the reference."""

from collections.abc import Callable, Mapping, Sequence

from trainer.contract import TaskSpec
from trainer.contract.events import ScoredSample
from trainer.evaluation.errors import EvaluationInterrupted, TaskError
from trainer.evaluation.filters import FilterTimeout, filter_answer
from trainer.evaluation.metrics.base import AnswerMetric, Judgement
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
            if reason := self.metric.check_item(item):
                raise TaskError(f"{self.task.task}, item {item.id}: {reason}")

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
            samples += self._judge(item, next(completions))
        return samples

    def _judge(self, item: Item, completion: Completion) -> list[ScoredSample]:
        if completion.stop_reason is StopReason.INTERRUPTED:
            raise EvaluationInterrupted
        cut = completion.stop_reason in (StopReason.LENGTH, StopReason.CONTEXT)
        detail = {"stop_reason": completion.stop_reason.value}
        return judge_answer(
            self.task, self.metric, item, completion.text, cut=cut, tokens=len(completion.token_ids), detail=detail
        )


def judge_answer(
    task: TaskSpec,
    metric: AnswerMetric,
    item: Item,
    output: str,
    *,
    cut: bool,
    tokens: int,
    detail: Mapping[str, float | int | str] | None = None,
) -> list[ScoredSample]:
    """One sample, or one for each part that the metric judges, whose cluster then is the item."""
    told = dict(detail or {}) | ({"repeat": item.repeat} if item.repeat else {})
    try:
        judged = metric.judge_item(filter_answer(task, output), item)
    except FilterTimeout as error:
        judged = [Judgement(None, "error", {"reason": str(error)})]
    return [
        _sample(
            item,
            item=f"{item.id}/{one.part}" if one.part else item.id,
            cluster=item.cluster or (item.id if one.part else ""),
            output=output,
            score=one.score,
            # What was cut is named first: with more room a number might still have come.
            status="truncated" if cut and one.status != "left_out" else one.status,
            tokens=tokens,
            detail=told | one.detail,
        )
        for one in judged
    ]


def _sample(one: Item, *, output: str = "", **values: object) -> ScoredSample:
    fields = {"item": one.id, "cluster": one.cluster, "prompt": one.prompt, "target": one.target, "output": output}
    return ScoredSample.model_validate({**fields, **values})
