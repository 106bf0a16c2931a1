"""Losses on pairs of answers of which one is preferred. B pairs, each answer by its summed log-probability.

h = [log π(chosen) − log π_ref(chosen)] − [log π(rejected) − log π_ref(rejected)]

sigmoid:  −log σ(β h)           Rafailov et al. 2023, arXiv:2305.18290, equation 7
ipo:      (h − 1 / (2β))²       Azar et al. 2023, arXiv:2310.12036, equation 17
"""

from typing import Literal

from torch import Tensor
from torch.nn import functional

PreferenceLoss = Literal["sigmoid", "ipo"]


def preference_margin(chosen_B: Tensor, rejected_B: Tensor, ref_chosen_B: Tensor, ref_rejected_B: Tensor) -> Tensor:
    """h: how much more the policy favours the chosen answer than the reference does, in nats."""
    return (chosen_B - ref_chosen_B) - (rejected_B - ref_rejected_B)


def preference_losses(margin_B: Tensor, *, beta: float, loss: PreferenceLoss) -> Tensor:
    """Loss of each pair. IPO pulls the margin to 1/(2β) and no further; the sigmoid never has enough."""
    if loss == "ipo":
        return (margin_B - 1 / (2 * beta)).square()
    return -functional.logsigmoid(beta * margin_B)
