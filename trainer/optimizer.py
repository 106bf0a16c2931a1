"""AdamW, its schedule, and its state by parameter name."""

import math
from typing import Any

import torch
from torch import Tensor

from trainer.contract.stages.base import OptimizerConfig
from trainer.sharding import cut_like, read_whole


def learning_rate_at(step: int, *, steps: int, config: OptimizerConfig) -> float:
    """Learning rate of optimiser step `step` of `steps`, both counted from 1.

    Rises in a straight line to the peak at step `warmup_steps`, then falls to `final_ratio` of it at the last step.
    """
    if step < config.warmup_steps:
        return config.learning_rate * step / config.warmup_steps
    peak_step = max(1, config.warmup_steps)
    progress = (step - peak_step) / (steps - peak_step) if steps > peak_step else 0.0
    share = {"constant": 1.0, "linear": 1.0 - progress, "cosine": 0.5 * (1.0 + math.cos(math.pi * progress))}
    final = 1.0 if config.schedule == "constant" else config.final_ratio
    return config.learning_rate * (final + (1.0 - final) * share[config.schedule])


def build_optimizer(model: torch.nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """Fused AdamW. Matrices decay; gains and biases do not."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [w for w in weights if w.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [w for w in weights if w.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        fused=True,
    )


def optimizer_tensors(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's moments as `<parameter>/<moment>`."""
    return {
        f"{name}/{moment}": read_whole(value.detach()).cpu().contiguous()
        for name, weight in model.named_parameters()
        for moment, value in optimizer.state.get(weight, {}).items()
    }


def restore_optimizer(model: torch.nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Inverse of `optimizer_tensors`; tensors of other names are left alone."""
    weights = dict(model.named_parameters())
    for key, value in tensors.items():
        name, _, moment = key.rpartition("/")
        if name in weights:
            optimizer.state[weights[name]][moment] = cut_like(value, weights[name])
