"""How a stage computes: what is kept for the backward pass and in which precision products are."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.rollout_runs import gradients, open_stage, write_base
from tests.trainer_runs import events_of
from trainer.stage import StageWork

SFT: dict[str, Any] = {
    "kind": "sft",
    "data": [{"dataset": "chat@1"}],
    "steps": 3,
    "batch_size": 4,
    "sequence_length": 96,
    "optimizer": {"learning_rate": 3e-3, "schedule": "constant", "clip_norm": 1e6},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"))


def step(out: Path, base: Path, **compute: Any) -> tuple[StageWork, dict[str, float], int]:
    """A stage after one step, the step's metrics, and how often a layer computed in it."""
    work = open_stage(out, {**SFT, "compute": compute}, base)
    calls = 0

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1

    work.policy.model.model.layers[0].mlp.register_forward_pre_hook(count)
    [update] = work.collect()
    return work, work.optimize(update), calls


def test_checkpointing_computes_layers_twice_and_changes_no_gradient(base: Path, tmp_path: Path):
    plain, metrics, once = step(tmp_path / "plain", base)
    sparing, same, twice = step(tmp_path / "sparing", base, gradient_checkpointing=True)
    assert twice == 2 * once
    assert same["train/loss"] == metrics["train/loss"]
    ours, theirs = gradients(sparing), gradients(plain)
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        assert torch.equal(ours[name], gradient), name


def test_a_stage_after_one_that_checkpoints_does_not(base: Path, tmp_path: Path):
    from trainer.computing import arrange
    from trainer.ranks import ALONE

    work, _, _ = step(tmp_path / "first", base, gradient_checkpointing=True)
    assert work.policy.model.is_gradient_checkpointing
    plain = work.stage.model_copy(
        update={"compute": work.stage.compute.model_copy(update={"gradient_checkpointing": False})}
    )
    arrange(work.policy, plain, ALONE, seed=0, field="recipe.stages[0]")
    assert not work.policy.model.is_gradient_checkpointing


def test_half_precision_is_of_products_alone(base: Path, tmp_path: Path):
    full, metrics, _ = step(tmp_path / "full", base)
    half, other, _ = step(tmp_path / "half", base, precision="bf16")
    assert events_of(tmp_path / "full", "stage_started")[0].notes["precision"] == "fp32"  # auto, on a CPU
    assert events_of(tmp_path / "half", "stage_started")[0].notes["precision"] == "bf16"
    assert other["train/loss"] != metrics["train/loss"]
    assert other["train/loss"] == pytest.approx(metrics["train/loss"], rel=1e-2)
    assert other["train/grad_norm"] == pytest.approx(metrics["train/grad_norm"], rel=5e-2)
    for weight in half.policy.model.parameters():
        assert weight.dtype == torch.float32
        assert weight.grad is not None
        assert weight.grad.dtype == torch.float32
        assert half.optimizer.state[weight]["exp_avg"].dtype == torch.float32
    flat = [torch.cat([gradient.flatten() for gradient in gradients(work).values()]) for work in (full, half)]
    assert torch.nn.functional.cosine_similarity(*flat, dim=0) > 0.99
