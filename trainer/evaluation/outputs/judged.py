"""Answer the questions of an item one after the other, as a chat; then let the judges read every answer."""

from collections.abc import Callable, Sequence

from trainer.contract.events import ScoredSample
from trainer.evaluation.conversations import Turn, Written, judge_items, read_turns
from trainer.evaluation.errors import EvaluationInterrupted, TaskError
from trainer.evaluation.metrics.base import JudgeMetric
from trainer.evaluation.outputs.base import OutputType
from trainer.evaluation.tasks import Item
from trainer.sampling import Completion, SamplingRequest, StopReason, TorchEngine
from trainer.sampling.randomness import seed_for


class JudgedAnswers(OutputType):
    """One sample for each turn. A turn after one that could not be asked is not asked either."""

    name = "judged"
    metric_class = JudgeMetric

    def check(self, items: Sequence[Item]) -> None:
        assert self.task.judging is not None
        if not getattr(self.tokenizer, "chat_template", None):
            raise TaskError(
                f"{self.task.task}: judged tasks are asked as a chat, and the model's tokenizer has no chat template; "
                "evaluate a model that was trained on chats"
            )
        for item in items:
            read_turns(self.task, item)
        if problems := self.task.judging.unreachable():
            raise TaskError(f"{self.task.task}: {' '.join(problems)}")

    def answer(self, items: Sequence[Item], *, should_stop: Callable[[], bool]) -> list[ScoredSample]:
        asked = [read_turns(self.task, item) for item in items]
        written: list[list[Written]] = [[] for _ in items]
        for number in range(max(map(len, asked))):
            places = [place for place, turns in enumerate(asked) if number < len(turns)]
            found = self._write([(items[place], asked[place], written[place]) for place in places], should_stop)
            for place, one in zip(places, found, strict=True):
                written[place].append(one)

        def leave_if_asked() -> None:
            if should_stop():
                raise EvaluationInterrupted

        return judge_items(self.task, items, asked, written, leave_if_asked=leave_if_asked)

    def _write(
        self, asked: Sequence[tuple[Item, Sequence[Turn], Sequence[Written]]], should_stop: Callable[[], bool]
    ) -> list[Written]:
        engine = TorchEngine(self.model, self.tokenizer)
        settings = self.task.generation_kwargs
        found: list[Written | None] = []
        requests = []
        for item, turns, before in asked:
            prompt = self._encode(turns, before)
            if reason := next((one.reason for one in before if one.reason), ""):
                found.append(Written("", reason=reason))
            elif engine.context is not None and len(prompt) >= engine.context:
                told = f"the conversation has {len(prompt)} tokens, the context is {engine.context}"
                found.append(Written("", reason=told))
            else:
                found.append(None)
                requests.append(
                    SamplingRequest(
                        prompt_ids=tuple(prompt),
                        max_new_tokens=settings.max_gen_toks,
                        temperature=settings.temperature,
                        top_p=settings.top_p,
                        seed=seed_for(settings.seed, f"{item.id} turn {len(before)}"),
                        stop=tuple(settings.until),
                    )
                )
        completions = iter(engine.sample(requests, should_stop=should_stop))
        return [one or _read_completion(next(completions)) for one in found]

    def _encode(self, turns: Sequence[Turn], before: Sequence[Written]) -> list[int]:
        messages = []
        for turn, one in zip(turns, before, strict=False):
            messages += [{"role": "user", "content": turn.question}, {"role": "assistant", "content": one.text}]
        messages.append({"role": "user", "content": turns[len(before)].question})
        text = str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids


def _read_completion(completion: Completion) -> Written:
    if completion.stop_reason is StopReason.INTERRUPTED:
        raise EvaluationInterrupted
    cut = completion.stop_reason in (StopReason.LENGTH, StopReason.CONTEXT)
    return Written(completion.text, len(completion.token_ids), cut)
