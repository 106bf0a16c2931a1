"""Loss on documents that are never trained."""

import math
from collections.abc import Callable

import torch

from trainer.algorithms import Algorithm
from trainer.algorithms.base import add_reported
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
    """Means over the whole dataset: of the loss, of what the algorithm reports beside it, and the perplexity where the
    likelihood is among these. Documents of like length stand together.
    """
    policy.model.eval()
    order = sorted(range(len(store)), key=lambda number: (store.lengths_D[number], number))
    loss, counted, start = 0.0, 0, 0
    likelihood = False
    reported: dict[str, tuple[float, float]] = {}
    while start < len(order):
        end, tokens = start, 0
        while end < len(order) and (end == start or tokens + store.lengths_D[order[end]] <= tokens_at_once):
            tokens += int(store.lengths_D[order[end]])
            end += 1
        documents = [part for number in order[start:end] for part in store.parts(number)]
        batch = flatten(documents, device=policy.device)
        terms = algorithm.loss(batch, policy, targets=1)
        loss += terms.total.item()
        counted += batch.targets if terms.counted is None else terms.counted
        likelihood = terms.terms.keys() == {"nll"}
        add_reported(reported, terms.reported)
        start = end
        progress(start, len(order))
    policy.model.train()
    mean = loss / counted if counted else math.nan
    further = {key.rpartition("/")[2]: total / max(1, count) for key, (total, count) in reported.items()}
    nll = mean if likelihood else further.get("nll")
    perplexity = {} if nll is None else {"perplexity": math.exp(nll) if nll < 700 else math.inf}
    return {"loss": mean, **further, **perplexity}
