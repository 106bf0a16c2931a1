"""Choosing the next token from logits. Tensors end in their shape: R rows still sampling, V entries of vocabulary."""

from collections.abc import Sequence

import torch
from torch import Tensor

from trainer.sampling.engine import SamplingRequest


class Chooser:
    """How each row of one batch takes its next token; worked out once, applied at every step.

    Temperature 0 takes the likeliest token. Otherwise the inverse of the cumulative distribution is taken at the
    row's draw, uniform in [0, 1): over the vocabulary in its own order, or, below top_p 1, in order of falling
    probability, cut where top_p is reached. How a row draws never depends on the rows beside it.
    """

    def __init__(self, requests: Sequence[SamplingRequest], device: torch.device | str = "cpu") -> None:
        temperatures = [request.temperature or 1.0 for request in requests]
        greedy = [request.temperature == 0 for request in requests]
        nucleus = [place for place, r in enumerate(requests) if r.temperature > 0 and r.top_p < 1]
        self._temperature_R1 = None
        if any(value != 1.0 for value in temperatures):
            self._temperature_R1 = torch.tensor(temperatures, dtype=torch.float32, device=device)[:, None]
        self._all_greedy = all(greedy)
        self._greedy_R = torch.tensor(greedy, device=device) if any(greedy) else None
        self._nucleus_K = torch.tensor(nucleus, device=device) if nucleus else None
        self._top_p_K = torch.tensor([requests[place].top_p for place in nucleus], dtype=torch.float64, device=device)

    def choose(self, logits_RV: Tensor, draw_R: Tensor, *, tokens: int | None = None) -> tuple[Tensor, Tensor]:
        """Next token and its log-probability per row, at the row's temperature and before top_p.

        Only the first `tokens` entries can be chosen: what a head has beyond its tokenizer is padding. They all have
        their share in the log-probability, as they have in training. Where logits are no numbers (NaN), so is the
        log-probability of whatever token is given.
        """
        logits_RV = logits_RV.float()
        if self._temperature_R1 is not None:
            logits_RV = logits_RV / self._temperature_R1
        if self._all_greedy:
            token_R = logits_RV[:, :tokens].argmax(dim=-1)
            return token_R, torch.log_softmax(logits_RV, dim=-1).gather(1, token_R[:, None])[:, 0]
        probability_RV = torch.softmax(logits_RV, dim=-1)
        token_R = _invert(probability_RV[:, :tokens], draw_R)
        if self._nucleus_K is not None:
            chosen_K = _invert_nucleus(probability_RV[self._nucleus_K, :tokens], self._top_p_K, draw_R[self._nucleus_K])
            token_R[self._nucleus_K] = chosen_K
        if self._greedy_R is not None:
            token_R = torch.where(self._greedy_R, logits_RV[:, :tokens].argmax(dim=-1), token_R)
        return token_R, probability_RV.gather(1, token_R[:, None])[:, 0].log()


def _invert(probability_RV: Tensor, draw_R: Tensor) -> Tensor:
    """The first token at which the cumulative probability passes the draw.

    The sum runs in doubles: over 150,000 entries single precision would move tokens' borders by more than their
    probability. Passing the draw, not reaching it, keeps tokens of probability 0 out.
    """
    cumulative_RV = probability_RV.cumsum(dim=-1, dtype=torch.float64)
    return _pass(cumulative_RV, draw_R, cumulative_RV[:, -1])


def _invert_nucleus(probability_KV: Tensor, top_p_K: Tensor, draw_K: Tensor) -> Tensor:
    sorted_KV, order_KV = probability_KV.double().sort(dim=-1, descending=True, stable=True)
    cumulative_KV = sorted_KV.cumsum(dim=-1)
    # A token stays when the ones before it do not yet hold top_p; the first always stays.
    kept_K = ((cumulative_KV - sorted_KV) < top_p_K[:, None]).sum(dim=-1).clamp(min=1)
    mass_K = cumulative_KV.gather(1, kept_K[:, None] - 1)[:, 0]
    return order_KV.gather(1, _pass(cumulative_KV, draw_K, mass_K)[:, None])[:, 0]


def _pass(cumulative_RV: Tensor, draw_R: Tensor, mass_R: Tensor) -> Tensor:
    """Where the cumulative sum passes the draw's share of `mass_R`; rounding may not carry a draw to all of it."""
    point_R = torch.minimum(draw_R * mass_R, mass_R.nextafter(torch.zeros_like(mass_R)))
    place_R = torch.searchsorted(cumulative_RV, point_R[:, None], right=True)[:, 0]
    # Sums that are no numbers are passed by nothing.
    return place_R.clamp_(max=cumulative_RV.shape[1] - 1)
