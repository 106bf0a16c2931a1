"""How a stage computes: in which precision, with what kept for the backward pass, over which processes."""

from typing import Literal

import torch

from trainer.adapters import add_adapter, has_adapter
from trainer.contract.stages.base import ComputeConfig, TrainingStage
from trainer.policy import Policy
from trainer.ranks import Ranks
from trainer.sharding import shard_model


def choose_precision(config: ComputeConfig, device: torch.device) -> Literal["fp32", "bf16"]:
    """bf16 on a GPU, fp32 on a CPU, where half precision is slower than single, unless the stage says otherwise."""
    if config.precision == "auto":
        return "bf16" if device.type == "cuda" else "fp32"
    return config.precision


def choose_sharding(config: ComputeConfig, device: torch.device, ranks: Ranks) -> bool:
    """Whether weights are cut over ranks: on GPUs, unless the stage says otherwise. Alone there is nothing to cut."""
    wanted = device.type == "cuda" if config.sharding == "auto" else config.sharding == "on"
    return ranks.count > 1 and wanted


def arrange(policy: Policy, stage: TrainingStage, ranks: Ranks, *, seed: int, field: str) -> None:
    """Make the policy compute as the stage says, whatever the stage before did."""
    sharding = choose_sharding(stage.compute, policy.device, ranks)
    if policy.sharded and (stage.lora is not None or not sharding):
        policy.make_whole()
    if stage.lora is not None and not has_adapter(policy.model):
        add_adapter(policy.model, stage.lora, seed=seed, field=f"{field}.lora")
    policy.precision = choose_precision(stage.compute, policy.device)
    if stage.compute.gradient_checkpointing:
        policy.model.gradient_checkpointing_enable({"use_reentrant": False})
    else:
        policy.model.gradient_checkpointing_disable()
    policy.ranks = ranks.count
    if sharding and not policy.sharded:
        assert ranks.mesh is not None
        shard_model(policy.model, ranks.mesh, half=policy.precision == "bf16")


def compute_notes(policy: Policy) -> dict[str, str | int | float | bool]:
    """Facts to freeze with a stage."""
    trained = sum(weight.numel() for weight in policy.model.parameters() if weight.requires_grad)
    return {
        "precision": policy.precision,
        "trained_parameters": trained,
        **({"processes": policy.ranks, "sharded": policy.sharded} if policy.ranks > 1 else {}),
    }
