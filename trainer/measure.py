"""Loss on documents that are never trained."""

import math
from collections.abc import Callable

import torch

from trainer.algorithms import Algorithm
from trainer.data.batch import flatten
from trainer.data.documents import DocumentStore
from trainer.policy import Policy


@torch.no_grad()
def measure_held_out(
    store: DocumentStore,
    algorithm: Algorithm,
    policy: Policy,
    *,
    tokens_at_once: int,
    progress: Callable[[int, int], None],
) -> dict[str, float]:
    """Mean loss per target over the whole dataset, and e to its power. Documents of like length stand together."""
    policy.model.eval()
    order = sorted(range(len(store)), key=lambda number: (store.lengths_D[number], number))
    loss, targets, start = 0.0, 0, 0
    while start < len(order):
        end, tokens = start, 0
        while end < len(order) and (end == start or tokens + store.lengths_D[order[end]] <= tokens_at_once):
            tokens += int(store.lengths_D[order[end]])
            end += 1
        batch = flatten([store.document(number) for number in order[start:end]], device=policy.device)
        loss += algorithm.loss(batch, policy, targets=1).total.item()
        targets += batch.targets
        start = end
        progress(start, len(order))
    policy.model.train()
    mean = loss / targets if targets else math.nan
    return {"loss": mean, "perplexity": math.exp(mean) if mean < 700 else math.inf}
