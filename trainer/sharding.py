"""A policy cut over ranks by FSDP2: each holds its share of every weight, gradient and moment.

Layers are gathered one at a time in forward and backward passes. Every pass is a message to all ranks, so all must make
equally many: a rank without a micro-batch makes an idle one. Where passes cannot be counted (sampling, measuring,
evaluating) the whole policy is gathered first, and then no pass says anything to anybody.

`fully_shard` is called directly: accelerate falls back to plain replicas on CPUs without a word.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

READ = "read_states"
"""The method of a sharded model that gathers its ends and runs its body."""


def shard_model(model: Any, mesh: DeviceMesh, *, half: bool) -> None:
    """Cut every layer, then what is left. `half`: layers are gathered and computed in bf16, shares stay as they are."""
    precision = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32) if half else None
    options: dict[str, Any] = {"mesh": mesh, **({"mp_policy": precision} if precision else {})}
    kinds = set(model._no_split_modules or ())
    layers = [module for module in model.modules() if type(module).__name__ in kinds]
    if not layers:
        raise TypeError(f"{type(model).__name__} does not say which of its modules are layers")
    for layer in layers:
        fully_shard(layer, **options)
    fully_shard(model, **options)
    setattr(model, READ, MethodType(_read_states, model))
    register_fsdp_forward_method(model, READ)
    whole = [name for name, weight in model.named_parameters() if not isinstance(weight, DTensor)]
    assert not whole, f"not sharded: {whole[:3]}"


def _read_states(model: Any, **inputs: Any) -> Any:
    return model.base_model(**inputs)


def is_sharded(model: Any) -> bool:
    return isinstance(model, FSDPModule)


@contextmanager
def gathered(model: Any) -> Iterator[None]:
    """Every weight whole on every rank; passes within need no other rank."""
    parts = [module for module in model.modules() if isinstance(module, FSDPModule)]
    if not parts or not isinstance(next(model.parameters()), DTensor):
        yield
        return
    model.set_reshard_after_forward(False)
    for part in parts:
        part.unshard()
    try:
        yield
    finally:
        model.set_reshard_after_forward(True)
        model.set_reshard_after_forward(False, recurse=False)  # its ends are needed again at once, for the loss
        for part in parts:
            part.reshard()


def read_whole(value: Tensor) -> Tensor:
    """A tensor gathered from all ranks, when it is cut; every rank must ask."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def read_own(value: Tensor) -> Tensor:
    """This rank's share of a tensor, or all of it."""
    return value.to_local() if isinstance(value, DTensor) else value


def cut_like(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor as `like` is held: cut the same way, on the same device."""
    if isinstance(like, DTensor) and value.shape == like.shape:
        return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)
    return value.to(like.device)
