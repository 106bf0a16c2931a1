"""The reference: the policy as it entered the stage, frozen."""

import torch
from torch import Tensor

from trainer.policy import Policy

PREFIX = "reference/"


class Reference:
    """A second set of weights. A checkpoint holds them too: in the middle of a stage nothing else does."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy.copy_frozen()

    def tensors(self) -> dict[str, Tensor]:
        return {
            PREFIX + name: weight.detach().cpu().contiguous() for name, weight in self.policy.model.named_parameters()
        }

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor]) -> None:
        for name, weight in self.policy.model.named_parameters():
            weight.copy_(tensors[PREFIX + name])
