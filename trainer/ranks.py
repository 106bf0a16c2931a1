"""Several processes that train one policy together. Each is a rank; alone, everything here is the identity.

Every rank reads the same data, draws the same random numbers and so knows the whole optimiser step. What is shared out
is the work: micro-batches in turn, groups of rollouts in spans. Whatever a rank decides on its own (a stop that it was
asked for, an event, a file) is decided by all of them together or by the first alone: a rank that went another way than
the others would leave them waiting.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from trainer.data.documents import TokenizedDocument

PATIENCE = timedelta(hours=12)
"""The others wait while the first rank evaluates or writes. A rank that died is noticed by who started it."""
BUCKET = 1 << 24
"""Gradient entries that are summed over ranks in one message."""

Value = TypeVar("Value")


@dataclass(frozen=True)
class Elsewhere:
    """A micro-batch that another rank computes."""

    targets: int
    tokens: int

    @classmethod
    def of(cls, documents: Sequence[TokenizedDocument]) -> "Elsewhere":
        return cls(
            targets=sum(int(trained[1:].sum()) for _, trained in documents),
            tokens=sum(len(ids) for ids, _ in documents),
        )

    def __len__(self) -> int:
        return self.tokens


@dataclass(frozen=True)
class Ranks:
    number: int = 0
    """This process's, from 0."""
    count: int = 1
    mesh: DeviceMesh | None = None
    """The devices of all ranks in one row; None when alone."""
    talk: "distributed.ProcessGroup | None" = None
    """Carries Python values between CPUs, whatever carries tensors."""

    @property
    def first(self) -> bool:
        """Whether this rank is the one that tells events and writes files."""
        return self.number == 0

    def owns(self, place: int) -> bool:
        """Whether the micro-batch at this place of an optimiser step is this rank's."""
        return place % self.count == self.number

    def span(self, items: int) -> slice:
        """This rank's stretch of so many items; empty where there are fewer items than ranks before it."""
        return slice(items * self.number // self.count, items * (self.number + 1) // self.count)

    def gather(self, value: Value) -> list[Value]:
        """The value of every rank, in their order; every rank gets it."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        distributed.all_gather_object(values, value, group=self.talk)
        return values

    def join(self, mine: Sequence[Value]) -> list[Value]:
        """The items of every rank one behind the other."""
        return [item for part in self.gather(list(mine)) for item in part]

    def from_first(self, value: Value) -> Value:
        """What the first rank has."""
        if self.count == 1:
            return value
        values: list[Any] = [value]
        distributed.broadcast_object_list(values, src=0, group=self.talk)
        found: Value = values[0]
        return found

    def any(self, flag: bool) -> bool:
        return any(self.gather(flag))

    @torch.no_grad()
    def sum_gradients(self, weights: Iterable[Tensor]) -> None:
        """Replace each gradient by its sum over ranks. A rank that computed none counts as zero."""
        if self.count == 1:
            return
        bucket: list[Tensor] = []
        entries = 0
        for weight in weights:
            if not weight.requires_grad:
                continue
            weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
            bucket.append(weight.grad)
            entries += weight.numel()
            if entries >= BUCKET:
                _sum_together(bucket)
                bucket, entries = [], 0
        _sum_together(bucket)


ALONE = Ranks()


def join_ranks(device: torch.device) -> Ranks:
    """Meet the other processes that the environment speaks of, as torchrun and `trainer.launch` describe them."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return ALONE
    if not distributed.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, timeout=PATIENCE)
    mesh = init_device_mesh(device.type, (count,))
    talk = distributed.new_group(backend="gloo", timeout=PATIENCE)
    return Ranks(number=distributed.get_rank(), count=count, mesh=mesh, talk=talk)


def leave_ranks(ranks: Ranks) -> None:
    if ranks.count > 1 and distributed.is_initialized():
        distributed.destroy_process_group()


def _sum_together(gradients: list[Tensor]) -> None:
    """Sum these over ranks, in place, by one message."""
    if not gradients:
        return
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    for gradient, summed in zip(gradients, flat.split([one.numel() for one in gradients]), strict=True):
        gradient.copy_(summed.view_as(gradient))
