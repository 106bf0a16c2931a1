"""Low-rank adapters: W + (α/r)·B·A with W frozen, B and A trained (Hu et al. 2021, arXiv:2106.09685).

peft puts them into the policy's own modules; nothing is wrapped around it. B starts at zero, so that the policy is at
first what it was. Checkpoints hold the policy with B·A added in, which plain transformers loads; the frozen weights of
the adapted maps stand beside it, since W + B·A − B·A is not W bit for bit. After the stage the adapter is added in for
good.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from trainer.contract.stages.base import LoraConfig
from trainer.failures import InvalidSpec
from trainer.sharding import cut_like, read_whole

NAME = "default"
PREFIX = "adapter/"
"""Of what a checkpoint holds to continue with an adapter: its matrices, and the frozen weights below them."""


def add_adapter(model: Any, config: LoraConfig, *, seed: int, field: str) -> None:
    """Freeze every weight and put adapters beside those of the chosen maps. A ~ uniform from the seed, B = 0."""
    from peft import LoraConfig as PeftConfig
    from peft import inject_adapter_in_model

    chosen = _find_targets(model, config.targets, field)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        inject_adapter_in_model(
            PeftConfig(
                r=config.rank,
                lora_alpha=config.alpha,  # type: ignore[arg-type] # it only divides by it
                lora_dropout=config.dropout,
                target_modules=chosen,
                bias="none",
            ),
            model,
            adapter_name=NAME,
        )


def _find_targets(model: nn.Module, wanted: list[str], field: str) -> list[str]:
    """Full names of linear maps: those whose last name is wanted, or all but the head."""
    head = model.get_output_embeddings()  # type: ignore[operator]
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and module is not head]
    known = sorted({name.rpartition(".")[2] for name in linear})
    if missing := [name for name in wanted if name not in known]:
        raise InvalidSpec(f"{field}.targets: this policy has no map {missing[0]}; it has {', '.join(known)}.")
    return [name for name in linear if not wanted or name.rpartition(".")[2] in wanted]


def adapted_maps(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Name and module of every map that has an adapter."""
    for name, module in model.named_modules():
        if is_adapted(module):
            yield name, module


def is_adapted(module: nn.Module) -> bool:
    return hasattr(module, "lora_A") and hasattr(module, "base_layer")


def has_adapter(model: nn.Module) -> bool:
    return next(adapted_maps(model), None) is not None


@torch.no_grad()
def merged_weight(module: Any) -> Tensor:
    """What a linear map computes with, adapter added in; gathered when it is cut over ranks."""
    if not is_adapted(module):
        return read_whole(module.weight)
    low, high = (read_whole(part[NAME].weight) for part in (module.lora_A, module.lora_B))
    return read_whole(module.base_layer.weight) + module.scaling[NAME] * (high @ low)


def merged_weights(model: nn.Module) -> dict[str, Tensor]:
    """Every weight under the name that it has without adapters."""
    found = {
        name.replace(".base_layer.", "."): weight for name, weight in model.state_dict().items() if ".lora_" not in name
    }
    return found | {f"{name}.weight": merged_weight(module) for name, module in adapted_maps(model)}


@torch.no_grad()
def remove_adapter(model: nn.Module) -> None:
    """Add the adapter in for good; all weights train again."""
    for name, module in list(adapted_maps(model)):
        plain = module.base_layer
        plain.weight.copy_(merged_weight(module))
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, plain)
    model.requires_grad_(True)


def adapter_tensors(model: nn.Module) -> dict[str, Tensor]:
    """What must be in a checkpoint beside the merged weights; empty without an adapter."""
    return {
        PREFIX + name: read_whole(weight.detach()).cpu().contiguous() for name, weight in _own_weights(model).items()
    }


@torch.no_grad()
def restore_adapter(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Inverse of `adapter_tensors`."""
    for name, weight in _own_weights(model).items():
        weight.copy_(cut_like(tensors[PREFIX + name], weight))


def _own_weights(model: nn.Module) -> dict[str, Tensor]:
    parts = [(f"{name}.", module) for name, module in adapted_maps(model)]
    return {prefix + name: weight for prefix, module in parts for name, weight in module.named_parameters()}
