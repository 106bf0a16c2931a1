"""The next round's rollouts, sampled by the weights at hand while the policy learns from this round's.

The weights that sample are a copy, so that what is sampled depends neither on how long it takes nor on what the
optimiser does meanwhile: a round sampled so is the round that would have been sampled before the optimiser began. A
checkpoint holds the copy, and a run that goes on from it samples the round once more, from the same weights and seeds.
"""

import copy
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trainer.policy import Policy
from trainer.rollouts.rollout import Rollout
from trainer.sampling.policy_weights import read_weights
from trainer.sampling.torch_engine import TorchEngine

PREFIX = "behaviour/"


class NextRound:
    """A behaviour policy with an engine of its own, and the round that it samples."""

    def __init__(self, policy: Policy) -> None:
        behaviour = policy.copy_frozen()
        self.model = behaviour.model
        self.tokenizer = copy.deepcopy(policy.tokenizer)
        """Of its own: tokenizers are no two threads' business."""
        self.engine = TorchEngine(self.model, self.tokenizer)
        self.begun_at: int | None = None
        """Optimiser steps of the stage that had been made when the round's weights were taken; None: no round."""
        self.before: dict[str, Any] = {}
        """State of the algorithm before it drew the round's prompts."""
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._found: list[Rollout] = []
        self._fault: BaseException | None = None

    def take_weights(self, model: Any, *, done: int) -> None:
        """Sample from `model` as it is after `done` optimiser steps."""
        own = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, weight in read_weights(model):
                own[name].copy_(weight)
        self.engine.update_weights()
        self.begun_at = done

    def begin(self, sample: Callable[[Callable[[], bool]], list[Rollout]]) -> None:
        """Run `sample` beside what the caller does; it is given what says whether it is to break off."""
        assert self._thread is None
        self._over.clear()

        def work() -> None:
            try:
                if self.model.device.type == "cuda":
                    torch.cuda.set_device(self.model.device)
                self._found = sample(self._over.is_set)
            except BaseException as fault:  # told by `finish`, in the thread that can do something about it
                self._fault = fault

        self._thread = threading.Thread(target=work, name="next round", daemon=True)
        self._thread.start()

    @property
    def begun(self) -> bool:
        return self._thread is not None

    def finish(self) -> list[Rollout]:
        """Wait for the round's rollouts; raises what sampling them raised."""
        assert self._thread is not None
        self._thread.join()
        self._thread = None
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise fault
        return self._found

    def close(self) -> None:
        """Break off what is being sampled."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        self.engine.close()

    def tensors(self) -> dict[str, Tensor]:
        """The weights of a round that is not collected yet."""
        if self.begun_at is None:
            return {}
        return {PREFIX + name: weight.detach().cpu().contiguous() for name, weight in self.model.named_parameters()}

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor], *, begun_at: int) -> None:
        for name, weight in self.model.named_parameters():
            weight.copy_(tensors[PREFIX + name])
        self.engine.update_weights()
        self.begun_at = begun_at
