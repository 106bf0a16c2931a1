"""Before the fast path is used: its logits against the model's own forward pass."""

from typing import Any

import torch

from trainer.sampling.llama_decoder import LlamaDecoder
from trainer.sampling.llama_weights import LlamaWeights
from trainer.sampling.module_decoder import answering

TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""Largest difference of a logit, as a share of the largest logit, by the number format of the fast path."""
STEPS = 3


@torch.no_grad()
def find_difference(model: Any, weights: LlamaWeights, *, context: int | None) -> str | None:
    """What the fast path gets wrong on two random prompts, None when nothing.

    Both prompts are computed together, one of them twice, and continued for some steps; the model computes each alone.
    """
    generator = torch.Generator().manual_seed(0)
    longest = min(length for length in (context, weights.window, 24) if length is not None)
    if longest < STEPS + 3:
        return f"a context of {longest} is too short to compare"
    texts = [
        torch.randint(len(weights.embedding_VH), (length,), generator=generator)
        for length in (longest - 2, longest - 1)
    ]
    decoder = LlamaDecoder(weights, places=3, columns=longest)
    prompts = [text[:-STEPS].tolist() for text in texts]
    rows = [texts[0], texts[0], texts[1]]
    own = [decoder.admit(prompts, [2, 1])[[0, 0, 1]]]
    for step in range(STEPS):
        own.append(decoder.step(torch.stack([text[len(text) - STEPS + step] for text in rows]).to(weights.device)))
    own_RTV = torch.stack(own, dim=1).float()
    with answering(model):
        expected = [model(text[None].to(weights.device)).logits[0, -STEPS - 1 :].float() for text in texts]
    expected_RTV = torch.stack([expected[0], expected[0], expected[1]])
    scale = max(1.0, expected_RTV.abs().max().item())
    difference = (own_RTV - expected_RTV).abs().max().item() / scale
    if difference <= TOLERANCE[weights.dtype]:
        return None
    return f"its logits differ from the model's own by {difference:.2g} of the largest"
