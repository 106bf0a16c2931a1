"""Log-likelihood of given tokens under a model, many sequences at a time.

Sequences are padded on the right, where causal attention never looks, so a sequence alone and in a batch agree up to
rounding.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

BATCH_TOKENS = 4096
BATCH_LOGITS = 64 * 2**20
"""Most logits held at once: 256 MiB in single precision."""


@dataclass(frozen=True)
class Continuation:
    """Tokens of which `ids[start:]` are scored, each given all before it; start is at least 1."""

    ids: tuple[int, ...]
    start: int


def score_continuations(model: Any, sequences: Sequence[Continuation]) -> list[list[float]]:
    """Log-probability in nats of every scored token, per sequence, in the order of the sequences."""
    scores: list[list[float]] = [[] for _ in sequences]
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for batch in _batches(model, sequences):
                for place, values in zip(batch, _score_batch(model, [sequences[i] for i in batch]), strict=True):
                    scores[place] = values
    finally:
        model.train(training)
    return scores


def _batches(model: Any, sequences: Sequence[Continuation]) -> Iterator[list[int]]:
    """Positions of sequences of like length, longest first: what does not fit in memory fails at once."""
    vocabulary = model.config.get_text_config().vocab_size
    batch: list[int] = []
    for place in sorted(range(len(sequences)), key=lambda i: -len(sequences[i].ids)):
        trial = [*batch, place]
        width = len(sequences[trial[0]].ids)
        kept = width - min(sequences[i].start for i in trial) + 1
        full = len(trial) * width > BATCH_TOKENS or len(trial) * kept * vocabulary > BATCH_LOGITS
        if batch and full:
            yield batch
            trial = [place]
        batch = trial
    if batch:
        yield batch


def _score_batch(model: Any, sequences: Sequence[Continuation]) -> list[list[float]]:
    width = max(len(sequence.ids) for sequence in sequences)
    tokens_BT = torch.zeros(len(sequences), width, dtype=torch.long)
    mask_BT = torch.zeros(len(sequences), width, dtype=torch.long)
    for row, sequence in enumerate(sequences):
        tokens_BT[row, : len(sequence.ids)] = torch.tensor(sequence.ids)
        mask_BT[row, : len(sequence.ids)] = 1
    # The logits at t predict token t + 1, so those from the earliest start - 1 on are needed.
    first = min(sequence.start for sequence in sequences) - 1
    logits_BKV = model(
        input_ids=tokens_BT.to(model.device),
        attention_mask=mask_BT.to(model.device),
        use_cache=False,
        logits_to_keep=width - first,
    ).logits
    scores = []
    for row, sequence in enumerate(sequences):
        logits_SV = logits_BKV[row, sequence.start - 1 - first : len(sequence.ids) - 1 - first].float()
        target_S = torch.tensor(sequence.ids[sequence.start :], device=logits_SV.device)
        logp_S = logits_SV.gather(1, target_S[:, None])[:, 0] - logits_SV.logsumexp(dim=-1)
        scores.append(logp_S.double().tolist())
    return scores
