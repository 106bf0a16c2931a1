"""The policy's weights on their way to another engine, and the proof that they arrived."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributed.fsdp import FSDPModule

from trainer.adapters import adapted_maps, merged_weight
from trainer.sampling.engine import SamplingRequest, StopReason
from trainer.sampling.module_decoder import answering
from trainer.sampling.rows import Row

TOLERANCE = {"float32": 1e-3, "float16": 2e-2, "bfloat16": 1e-1}
"""Largest mean difference of a log-probability in nats, by the other engine's number format."""
PROBES, PROBE_PROMPT, PROBE_TOKENS = 3, 12, 8


def name_architecture(model: Any) -> str:
    """As a checkpoint names it: a policy cut over ranks has a class of its own, made from the one that is meant."""
    return next(one.__name__ for one in type(model).__mro__ if not issubclass(one, FSDPModule))


def read_weights(model: Any) -> Iterator[tuple[str, Tensor]]:
    """Weights by the names that a Hugging Face checkpoint has, adapters added in; a head tied to the embedding is not
    among them. A policy that is cut over ranks must be gathered.
    """
    adapted = {f"{name}.base_layer.weight": module for name, module in adapted_maps(model)}
    for name, weight in model.named_parameters():
        if name in adapted:
            yield name.replace(".base_layer.", "."), merged_weight(adapted[name])
        elif ".lora_" not in name:
            yield name.replace(".base_layer.", "."), weight.detach()


def probe_rows(*, vocabulary: int, context: int, temperature: float, top_p: float) -> list[Row]:
    """Rows to be sampled by the other engine, always the same prompts; nothing but their length ends them."""
    draw = np.random.default_rng(0)
    rows = []
    for seed in range(PROBES):
        length = max(1, min(PROBE_PROMPT + seed, context // 2))
        request = SamplingRequest(
            prompt_ids=tuple(draw.integers(vocabulary, size=length).tolist()),
            max_new_tokens=min(PROBE_TOKENS, context - length),
            temperature=temperature,
            top_p=top_p,
            seed=seed,
        )
        room = request.max_new_tokens
        rows.append(Row(request, ends=frozenset(), stop=(), room=room, full=StopReason.LENGTH))
    return rows


@dataclass(frozen=True)
class Gap:
    """Between two engines' log-probabilities of the same tokens, in nats."""

    mean: float
    largest: float
    tokens: int


@torch.no_grad()
def measure_gap(model: Any, rows: Sequence[Row]) -> Gap:
    """What was said of the sampled tokens against a plain forward pass of the policy as it is now."""
    found: list[float] = []
    with answering(model):
        for row in rows:
            ids = torch.tensor([[*row.request.prompt_ids, *row.tokens]], device=model.device)
            logits_TV = model(input_ids=ids).logits[0, len(row.request.prompt_ids) - 1 : -1].float()
            logp_TV = torch.log_softmax(logits_TV / (row.request.temperature or 1.0), dim=-1)
            token_T1 = ids[0, len(row.request.prompt_ids) :, None]
            said_T = torch.tensor(row.logprobs, device=model.device)
            found += (logp_TV.gather(1, token_T1)[:, 0] - said_T).abs().tolist()
    return Gap(mean=sum(found) / len(found), largest=max(found), tokens=len(found))
