"""Clipped surrogates and what surrounds them, by hand and by finite differences."""

import math

import pytest
import torch

from tests.finite_differences import assert_slopes
from trainer.losses.policy_gradient import clipped_surrogate, k3_divergence, mean_by_rollout, truncated_importance
from trainer.rollouts.batch import shares_of_tokens

CLIP = {"clip_low": 0.2, "clip_high": 0.3}


def logs(*ratios: float) -> torch.Tensor:
    return torch.tensor([math.log(ratio) for ratio in ratios], dtype=torch.float64)


def surrogate(ratios: list[float], advantages: list[float], **options: object):
    return clipped_surrogate(
        logs(*ratios),
        torch.zeros(len(ratios), dtype=torch.float64),
        torch.tensor(advantages, dtype=torch.float64),
        **{**CLIP, **options},
    )


def test_the_surrogate_of_six_tokens_worked_by_hand():
    ratios = [1.0, 1.2, 1.5, 0.7, 1.5, 0.7]
    advantages = [2.0, 2.0, 2.0, 2.0, -1.0, -1.0]
    # −min(r·A, clip(r, 0.8, 1.3)·A)
    expected = [-2.0, -2.4, -2.6, -1.4, 1.5, 0.8]
    found = surrogate(ratios, advantages)
    assert found.loss_K.tolist() == pytest.approx(expected)
    assert found.clipped_K.tolist() == [False, False, True, False, False, True]
    assert found.ratio_K.tolist() == pytest.approx(ratios)


def test_a_dual_clip_bounds_what_a_bad_token_can_weigh():
    found = surrogate([9.0, 2.0, 9.0], [-1.0, -1.0, 1.0], dual_clip=3.0)
    assert found.loss_K.tolist() == pytest.approx([3.0, 2.0, -1.3])
    assert found.clipped_K.tolist() == [True, False, True]


def test_a_clipped_token_gives_no_gradient():
    logp_K = logs(1.5, 0.7, 1.0).requires_grad_()
    advantage_K = torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64)
    clipped_surrogate(logp_K, torch.zeros(3, dtype=torch.float64), advantage_K, **CLIP).loss_K.sum().backward()
    assert logp_K.grad is not None
    assert logp_K.grad.tolist() == [0.0, 0.0, -1.0]


def test_on_the_policy_that_sampled_the_gradient_is_that_of_the_likelihood_times_the_advantage():
    logp_K = torch.tensor([-1.0, -3.0], dtype=torch.float64, requires_grad=True)
    advantage_K = torch.tensor([0.5, -2.0], dtype=torch.float64)
    found = clipped_surrogate(logp_K, logp_K.detach(), advantage_K, **CLIP)
    assert found.loss_K.tolist() == [-0.5, 2.0]
    found.loss_K.sum().backward()
    assert logp_K.grad is not None
    assert logp_K.grad.tolist() == [-0.5, 2.0]


def test_the_ratio_of_a_rollout_is_the_geometric_mean_of_its_tokens():
    # Rollout 0: tokens 4 and 1, so 2; rollout 1: one token of 1.1.
    rollout_K = torch.tensor([0, 1, 0])
    found = surrogate([4.0, 1.1, 1.0], [1.0, -1.0, 1.0], rollout_K=rollout_K, rollouts=2, clip_high=3.0)
    assert found.ratio_K.tolist() == pytest.approx([2.0, 1.1, 2.0])
    assert found.loss_K.tolist() == pytest.approx([-2.0, 1.1, -2.0])
    assert mean_by_rollout(torch.tensor([2.0, 5.0, 4.0]), rollout_K, 3).tolist() == [3.0, 5.0, 0.0]


def test_k3_is_the_estimator_worked_by_hand_and_never_negative():
    found = k3_divergence(logs(0.5, 0.5, 0.2), logs(0.5, 0.25, 0.4))
    # d = 0, −ln 2, ln 2: e^d − d − 1
    assert found.tolist() == pytest.approx([0.0, 0.5 + math.log(2) - 1, 2 - math.log(2) - 1])


def test_importance_weights_are_cut_at_the_cap_and_carry_no_gradient():
    old_K = logs(0.5, 0.9, 0.1).requires_grad_()
    found = truncated_importance(old_K, logs(0.25, 0.3, 0.2), cap=2.5)
    assert found.tolist() == pytest.approx([2.0, 2.5, 0.5])
    assert not found.requires_grad


@pytest.mark.parametrize("sequence", [False, True])
def test_slopes_of_the_whole_loss_are_those_of_finite_differences(sequence: bool):
    generator = torch.Generator().manual_seed(3)
    logp_K = torch.randn(12, generator=generator, dtype=torch.float64).mul(0.3).sub(1.0).requires_grad_()
    old_K = logp_K.detach() + torch.randn(12, generator=generator, dtype=torch.float64) * 0.4
    reference_K = logp_K.detach() + torch.randn(12, generator=generator, dtype=torch.float64) * 0.4
    advantage_K = torch.randn(12, generator=generator, dtype=torch.float64)
    rollout_K = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 3, 3])

    def loss(logp_K: torch.Tensor) -> torch.Tensor:
        options = {"rollout_K": rollout_K, "rollouts": 4} if sequence else {}
        found = clipped_surrogate(logp_K, old_K, advantage_K, **CLIP, dual_clip=3.0, **options)
        return (found.loss_K + 0.1 * k3_divergence(logp_K, reference_K)).sum()

    assert_slopes(loss, [logp_K])


def test_shares_of_tokens_by_aggregation():
    lengths = [1, 3, 4]
    assert shares_of_tokens(lengths, aggregation="token_mean", constant=10) == [1 / 8] * 3
    assert shares_of_tokens(lengths, aggregation="sequence_mean", constant=10) == [1 / 3, 1 / 9, 1 / 12]
    assert shares_of_tokens(lengths, aggregation="constant", constant=10) == [1 / 30] * 3
    assert shares_of_tokens([], aggregation="token_mean", constant=10) == []
