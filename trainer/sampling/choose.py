"""Choosing the next token from logits. Tensors end in their shape: R rows still sampling, V entries of vocabulary."""

import torch
from torch import Tensor


def choose_tokens(
    logits_RV: Tensor, *, temperature_R: Tensor, top_p_R: Tensor, draw_R: Tensor
) -> tuple[Tensor, Tensor]:
    """Next token and its log-probability per row.

    Temperature 0 takes the likeliest token. Otherwise the inverse of the cumulative distribution is taken at `draw_R`
    (uniform in [0, 1)), over the vocabulary in order of falling probability, cut where `top_p_R` is reached.
    Doubles keep a draw from falling into another token when rounding differs between batches.
    """
    greedy_R = temperature_R == 0
    scale_R = torch.where(greedy_R, torch.ones_like(temperature_R), temperature_R)
    logp_RV = torch.log_softmax(logits_RV.double() / scale_R.double()[:, None], dim=-1)
    token_R = logp_RV.argmax(dim=-1)
    if not bool(greedy_R.all()):
        token_R = torch.where(greedy_R, token_R, _draw(logp_RV, top_p_R.double(), draw_R.double()))
    return token_R, logp_RV.gather(1, token_R[:, None])[:, 0]


def _draw(logp_RV: Tensor, top_p_R: Tensor, draw_R: Tensor) -> Tensor:
    sorted_RV, order_RV = logp_RV.exp().sort(dim=-1, descending=True, stable=True)
    cumulative_RV = sorted_RV.cumsum(dim=-1)
    # A token stays when the ones before it do not yet hold top_p; the first always stays.
    kept_R = ((cumulative_RV - sorted_RV) < top_p_R[:, None]).sum(dim=-1).clamp(min=1)
    mass_R = cumulative_RV.gather(1, kept_R[:, None] - 1)[:, 0]
    place_R = torch.searchsorted(cumulative_RV, (draw_R * mass_R)[:, None], right=True)[:, 0]
    return order_RV.gather(1, torch.minimum(place_R, kept_R - 1)[:, None])[:, 0]
