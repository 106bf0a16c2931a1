"""Losses on pairs of answers: values by hand, slopes, what each of them wants."""

import math

import pytest
import torch

from trainer.losses.preference import preference_losses, preference_margin


def test_the_margin_is_what_the_policy_gained_over_the_reference():
    # Chosen rose by 2 nats, rejected fell by 1.
    margin = preference_margin(*(torch.tensor([value]) for value in (-3.0, -8.0, -5.0, -7.0)))
    assert margin.tolist() == [3.0]


def test_two_pairs_by_hand():
    margins = torch.tensor([3.0, 0.0])
    # −log σ(0.5 · 3) = log(1 + e^−1.5)
    sigmoid = preference_losses(margins, beta=0.5, loss="sigmoid")
    assert sigmoid.tolist() == pytest.approx([math.log(1 + math.exp(-1.5)), math.log(2)])
    # (h − 1/(2 · 0.5))² = (h − 1)²
    assert preference_losses(margins, beta=0.5, loss="ipo").tolist() == [4.0, 1.0]


@pytest.mark.parametrize("loss", ["sigmoid", "ipo"])
def test_slopes_are_finite_differences(loss: str):
    margins = torch.linspace(-4, 9, 14, dtype=torch.float64, requires_grad=True)
    [slopes] = torch.autograd.grad(preference_losses(margins, beta=0.3, loss=loss).sum(), margins)
    apart = 1e-6
    above, below = (preference_losses(margins.detach() + step, beta=0.3, loss=loss) for step in (apart, -apart))
    assert torch.allclose(slopes, (above - below) / (2 * apart), rtol=1e-5, atol=1e-8)


def test_the_sigmoid_always_wants_more_and_ipo_has_a_goal():
    margins = torch.tensor([4.0, 5.0, 6.0], requires_grad=True)
    [sigmoid] = torch.autograd.grad(preference_losses(margins, beta=0.1, loss="sigmoid").sum(), margins)
    [ipo] = torch.autograd.grad(preference_losses(margins, beta=0.1, loss="ipo").sum(), margins)
    assert (sigmoid < 0).all()
    assert ipo.tolist() == [-2.0, 0.0, 2.0]  # around 1 / (2 · 0.1) = 5


def test_a_hopeless_pair_stays_finite():
    assert preference_losses(torch.tensor([-1e4]), beta=1.0, loss="sigmoid").item() == 1e4
