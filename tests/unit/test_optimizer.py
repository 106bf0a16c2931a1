"""The learning rate step by step, and what decays."""

import pytest
import torch

from trainer.contract.stages.base import OptimizerConfig
from trainer.optimizer import build_optimizer, learning_rate_at


def rates(steps: int, **settings: object) -> list[float]:
    config = OptimizerConfig(**{"learning_rate": 1.0, **settings})
    return [learning_rate_at(step, steps=steps, config=config) for step in range(1, steps + 1)]


def test_linear_rises_to_the_peak_and_falls_to_the_final_share():
    assert rates(6, schedule="linear", warmup_steps=2, final_ratio=0.2) == pytest.approx([0.5, 1.0, 0.8, 0.6, 0.4, 0.2])


def test_cosine_is_half_way_down_in_the_middle():
    assert rates(5, schedule="cosine") == pytest.approx([1.0, 0.853553, 0.5, 0.146447, 0.0], abs=1e-6)


def test_constant_stays_after_warm_up():
    assert rates(4, schedule="constant", warmup_steps=2) == pytest.approx([0.5, 1.0, 1.0, 1.0])


def test_a_single_step_has_the_full_rate():
    assert rates(1, schedule="cosine") == [1.0]


def test_gains_do_not_decay():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.LayerNorm(2, bias=False))
    optimizer = build_optimizer(model, OptimizerConfig(learning_rate=0.1, weight_decay=0.5))
    before = [weight.detach().clone() for weight in model.parameters()]
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    matrix, gain = model.parameters()
    assert torch.allclose(matrix, before[0] * (1 - 0.1 * 0.5))
    assert torch.equal(gain, before[1])
