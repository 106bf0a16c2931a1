"""What stands in for vLLM where it is not installed: weights of its own, sampled by the torch engine.

That the real one behaves so is shown by `make test-vllm`.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.judge_server import Reply
from tests.sampler_models import make_tokenizer
from trainer.sampling import SamplingRequest, TorchEngine
from trainer.sampling.arriving import Arriving
from trainer.sampling.rows import Row, RowReader
from trainer.sampling.vllm_engine import VllmFacts

FACTS = {
    "version": "0.0.double",
    "architecture": "Qwen3ForCausalLM",
    "vocabulary": 200,
    "dtype": "float32",
    "context": 96,
    "logprobs": "processed_logprobs",
    "workers": 1,
    "broken": False,
}


class Copy:
    """A model of the policy's shape with weights of its own."""

    def __init__(self, model: Any) -> None:
        self.model = copy.deepcopy(model)
        with torch.no_grad():
            for weight in self.model.parameters():
                weight.zero_()

    @torch.no_grad()
    def load(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        own = dict(self.model.named_parameters())
        for name, weight in weights:
            own[name].copy_(weight)

    def sample(self, requests: Sequence[SamplingRequest]) -> list[Any]:
        return TorchEngine(self.model, make_tokenizer()).sample(requests)


class VllmDouble:
    """A `VllmBackend` that notes what is asked of it. `resets` are its answers to a wish for an empty cache."""

    def __init__(self, model: Any, *, resets: Sequence[bool] = (), keeps_weights: bool = True) -> None:
        self.facts = VllmFacts(**FACTS)
        self.calls: list[str] = []
        self.copy = Copy(model)
        self.resets = list(resets)
        self.keeps_weights = keeps_weights
        self.lost: set[str] = set()
        """Names of weights that do not arrive."""

    def load(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        self.calls.append("load")
        self.copy.load((name, weight) for name, weight in weights if name not in self.lost)

    def reset_prefix_cache(self) -> bool:
        self.calls.append("reset")
        return self.resets.pop(0) if self.resets else True

    def generate(self, rows: Arriving, reader: RowReader, should_stop: Callable[[], bool]) -> None:
        self.calls.append("generate")
        while not should_stop() and rows.wait():
            taken = rows.take()
            for row, completion in zip(taken, self.copy.sample([row.request for row in taken]), strict=True):
                for token, logprob in zip(completion.token_ids, completion.logprobs, strict=True):
                    reader.add(row, token, logprob)
                row.reason = completion.stop_reason
                self.read(row)
                rows.ended(row)

    def read(self, row: Row) -> None:
        """Called with every row that has ended."""

    def sleep(self) -> bool:
        self.calls.append("sleep")
        return self.keeps_weights

    def wake_up(self, part: Literal["weights", "kv_cache"]) -> None:
        self.calls.append(f"wake {part}")

    def close(self) -> None:
        self.calls.append("close")


class ServerDouble:
    """A script for `tests.judge_server.serve`: the routes of a vLLM server that a trainer uses."""

    def __init__(self, model: Any, **facts: Any) -> None:
        self.copy = Copy(model)
        self.facts = {**FACTS, **facts}
        self.spoil: Callable[[dict[str, Any]], Any] = lambda answer: answer
        """Changes a completion on its way out; a Reply of its own replaces it."""

    def __call__(self, number: int, body: dict[str, Any]) -> Reply:
        if body.get("method") == "describe_policy":
            return Reply({"results": [self.facts]})
        if body.get("method") == "load_policy_file":
            (path,) = body["args"]
            if not Path(path).is_file():
                return Reply({"results": [{"unseen": path}]})
            self.copy.load(load_file(path).items())
            return Reply({"results": [{}]})
        if "prompt" not in body:
            return Reply({"success": True})
        answer = self.spoil(self._complete(body))
        return answer if isinstance(answer, Reply) else Reply(answer)

    def _complete(self, body: dict[str, Any]) -> dict[str, Any]:
        request = SamplingRequest(
            prompt_ids=tuple(body["prompt"]),
            max_new_tokens=body["max_tokens"],
            temperature=body["temperature"],
            seed=body["seed"],
            stop=tuple(body["stop"]),
        )
        (completion,) = self.copy.sample([request])
        choice = {
            "token_ids": list(completion.token_ids),
            "prompt_token_ids": body["prompt"],
            "logprobs": {"token_logprobs": list(completion.logprobs)},
            "finish_reason": "length" if completion.stop_reason == "length" else "stop",
        }
        return {"choices": [choice]}
