"""Tasks without tools behind an endpoint: written answers by chat completions, options and texts by what /completions
says of the tokens of a prompt.

Where options begin is found without a tokenizer: the prompt is valued beside them, and what all of them have in common
with it, token by token, is left out. Where a tokenizer joins the end of a prompt with an option, all options of the
item are therefore valued from an earlier place on, and stay comparable.
"""

import math
import threading
from collections.abc import Sequence
from typing import Any

from trainer.contract import TaskSpec
from trainer.contract.endpoints import EndpointError, call
from trainer.contract.events import ScoredSample
from trainer.evaluation.endpoint.asking import Asking, ask_again
from trainer.evaluation.endpoint.chat import NoCompletion, Unanswered, read_reply
from trainer.evaluation.errors import EvaluationInterrupted, TaskError
from trainer.evaluation.outputs.generate import GenerateUntil, judge_answer
from trainer.evaluation.outputs.multiple_choice import MultipleChoice
from trainer.evaluation.outputs.perplexity import LoglikelihoodRolling
from trainer.evaluation.tasks import Item, answer_delimiter
from trainer.rollouts.rollout import Ending
from trainer.sampling.randomness import seed_for

CUT = "length"


class Answering:
    """How one task is asked. `answer` may be called by several threads; `judge` makes samples of what it kept."""

    def __init__(self, task: TaskSpec, asking: Asking) -> None:
        self.task, self.asking = task, asking

    def open(self, items: Sequence[Item]) -> None:
        """Raises TaskError for what this endpoint cannot be asked."""

    def answer(self, item: Item, over: threading.Event) -> ScoredSample:
        """Raises EndpointError where every further call would fail alike, and EvaluationInterrupted."""
        raise NotImplementedError

    def judge(self, item: Item, sample: ScoredSample) -> list[ScoredSample]:
        return [sample]

    def _sample(self, item: Item, **values: Any) -> ScoredSample:
        fields = {"item": item.id, "cluster": item.cluster, "prompt": item.prompt, "target": item.target}
        return ScoredSample.model_validate({"output": "", "score": None, "status": "ok", **fields, **values})

    def _failed(self, item: Item, found: Unanswered) -> ScoredSample:
        """What is too long for the model is its own failure; a service that failed is not."""
        if found.ending is Ending.INTERRUPTED:
            raise EvaluationInterrupted
        status = "error" if found.ending is Ending.LENGTH else "left_out"
        return self._sample(item, status=status, detail={"reason": found.reason})


class Written(Answering):
    """One chat completion for an item; judged once all are there, so that nothing but asking is resumed."""

    def open(self, items: Sequence[Item]) -> None:
        output = GenerateUntil(self.task, model=None, tokenizer=None)
        output.check(items)
        self.metric = output.metric

    def answer(self, item: Item, over: threading.Event) -> ScoredSample:
        settings = self.task.generation_kwargs
        body: dict[str, Any] = {
            "model": self.asking.endpoint.model,
            "messages": list(item.messages),
            "temperature": settings.temperature,
            "max_tokens": settings.max_gen_toks,
        }
        if settings.top_p < 1:
            body["top_p"] = settings.top_p
        if settings.temperature:
            body["seed"] = seed_for(settings.seed, item.id) % 2**31
        if settings.until:
            body["stop"] = list(settings.until)
        found = ask_again(self.asking, "/chat/completions", body, read_reply, over)
        if isinstance(found, Unanswered):
            return self._failed(item, found)
        return self._sample(
            item,
            output=_stop_at(found.text, settings.until),
            tokens=found.completion_tokens or 0,
            detail={"stop_reason": CUT if found.cut else "end"},
        )

    def judge(self, item: Item, sample: ScoredSample) -> list[ScoredSample]:
        if sample.status != "ok":
            return [sample]
        cut = sample.detail.get("stop_reason") == CUT
        told = {name: value for name, value in sample.detail.items() if not isinstance(value, list)}
        return judge_answer(self.task, self.metric, item, sample.output, cut=cut, tokens=sample.tokens, detail=told)


class Valued(Answering):
    """What tokens of given texts are worth to the model."""

    def open(self, items: Sequence[Item]) -> None:
        task = self.task
        if task.chat:
            raise TaskError(
                f"{task.task}: chat puts prompts into the model's chat template, which /completions of an endpoint "
                "does not apply; set chat to false, or evaluate a model directory"
            )
        if empty := next((item.id for item in items if not item.prompt), None):
            raise TaskError(
                f"{task.task}, item {empty}: nothing stands before what is valued, and an endpoint cannot be told to "
                "begin a text; give it a prompt in doc_to_text, or evaluate a model directory"
            )
        self._check_endpoint()
        kind: Any = MultipleChoice if task.output_type == "multiple_choice" else LoglikelihoodRolling
        self.metric = kind(task, model=None, tokenizer=None).metric

    def answer(self, item: Item, over: threading.Event) -> ScoredSample:
        options = item.choices or (item.target,)
        delimiter = answer_delimiter(self.task, item.prompt)
        asked = self._body([item.prompt, *(item.prompt + delimiter + one for one in options)])
        found = ask_again(self.asking, "/completions", asked, lambda reply: read_tokens(reply, len(options) + 1), over)
        if isinstance(found, Unanswered):
            return self._failed(item, found)
        prompt, *texts = found
        start = max(1, min(_count_common(prompt, text) for text in texts))
        values = [[value for _, value in text[start:]] for text in texts]
        totals = [math.fsum(one) for one in values]
        tokens = sum(map(len, values))
        if not all(values) or not all(map(math.isfinite, totals)):
            return self._sample(item, status="error", detail={"reason": "an option has no tokens of its own"})
        if self.task.output_type == "loglikelihood_rolling":
            score = self.metric.measure(totals[0], item.target)
            return self._sample(item, score=score, tokens=tokens, detail={"loglikelihood": totals[0]})
        chosen = self.metric.choose(totals, item.choices)
        return self._sample(
            item,
            output=item.choices[chosen],
            score=float(chosen == item.answer),
            tokens=tokens,
            detail={"loglikelihoods": totals, "chosen": chosen, "answer": item.answer or 0},
        )

    def _body(self, texts: Sequence[str]) -> dict[str, Any]:
        # A token is written that nobody wants: many servers refuse to write none.
        model = self.asking.endpoint.model
        return {"model": model, "prompt": list(texts), "max_tokens": 1, "temperature": 0, "logprobs": 1, "echo": True}

    def _check_endpoint(self) -> None:
        endpoint = self.asking.endpoint
        try:
            body = {**(self.asking.extra or {}), **self._body(["One, two, three"])}
            read_tokens(call(endpoint, "/completions", body, seconds=self.asking.seconds), 1)
        except NoCompletion as error:
            reason = str(error)
        except EndpointError as error:
            if error.again or error.status in (0, 401, 403):
                raise TaskError(f"--endpoint: {error}") from error
            reason = str(error).rstrip(".")
        else:
            return
        raise TaskError(
            f"{self.task.task} needs log-probabilities of given tokens, and {endpoint.base_url} does not tell them "
            f"(/completions with echo and logprobs: {reason}); evaluate a model directory, or serve it by chanote serve"
        )


def open_answering(task: TaskSpec, asking: Asking, items: Sequence[Item]) -> Answering:
    """Raises TaskError."""
    kind = Written if task.output_type == "generate_until" else Valued
    answering = kind(task, asking)
    answering.open(items)
    return answering


def read_tokens(reply: Any, count: int) -> list[list[tuple[str, float]]]:
    """Text and log-probability of each token of `count` echoed prompts, without the one written after them; the first
    token of each has 0. Raises NoCompletion."""
    try:
        choices = sorted(reply["choices"], key=lambda one: one["index"])
        found = []
        for choice in choices:
            told = choice["logprobs"]
            pairs = list(zip(told["tokens"], told["token_logprobs"], strict=True))
            if len(pairs) < 2 or pairs[0][1] is not None:
                raise NoCompletion("the reply does not value the prompt")
            found.append([(str(text), float(value or 0.0)) for text, value in pairs[:-1]])
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, NoCompletion):
            raise
        raise NoCompletion("the reply holds no log-probabilities of a prompt") from error
    if len(found) != count:
        raise NoCompletion(f"the reply has {len(found)} choices for {count} prompts")
    return found


def _count_common(prompt: Sequence[tuple[str, float]], text: Sequence[tuple[str, float]]) -> int:
    for place, (one, other) in enumerate(zip(prompt, text, strict=False)):
        if one[0] != other[0]:
            return place
    return min(len(prompt), len(text))


def _stop_at(text: str, stops: Sequence[str]) -> str:
    """Servers take four stop strings at most, and some none."""
    places = [place for stop in stops if stop and (place := text.find(stop)) >= 0]
    return text[: min(places)] if places else text
