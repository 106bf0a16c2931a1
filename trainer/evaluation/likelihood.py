"""Log-likelihood of given tokens under a model, many sequences at a time.

Sequences are padded on the right, where causal attention never looks, so a sequence alone and in a batch agree up to
rounding.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

BATCH_TOKENS = 4096
BATCH_LOGITS = 64 * 2**20
"""Most logits held at once: 256 MiB in single precision."""


@dataclass(frozen=True)
class Continuation:
    """Tokens of which `ids[start:]` are scored, each given all before it; start is at least 1."""

    ids: tuple[int, ...]
    start: int


@dataclass(frozen=True)
class LookedAt:
    """A token in its place: its log-probability in nats, and the likeliest tokens there with theirs, best first."""

    logprob: float
    likeliest: tuple[tuple[int, float], ...]


Found = TypeVar("Found")
Read = Callable[[Tensor, Tensor], list[Found]]
"""(logits_SV, target_S) → something for each of S scored tokens."""


def score_continuations(model: Any, sequences: Sequence[Continuation]) -> list[list[float]]:
    """Log-probability in nats of every scored token, per sequence, in the order of the sequences."""
    return _read_all(model, sequences, _read_logprobs)


def look_at_continuations(model: Any, sequences: Sequence[Continuation], *, looks: int) -> list[list[LookedAt]]:
    """The same with the `looks` likeliest tokens beside each; where it is the likeliest, both numbers are equal."""

    def read(logits_SV: Tensor, target_S: Tensor) -> list[LookedAt]:
        logprobs = _read_logprobs(logits_SV, target_S)
        if not looks:
            return [LookedAt(one, ()) for one in logprobs]
        best = logits_SV.topk(min(looks, logits_SV.shape[-1]))
        values_SK = (best.values - logits_SV.logsumexp(dim=-1, keepdim=True)).double()
        likeliest = [
            tuple(zip(tokens, values, strict=True))
            for tokens, values in zip(best.indices.tolist(), values_SK.tolist(), strict=True)
        ]
        return [LookedAt(logprob, pairs) for logprob, pairs in zip(logprobs, likeliest, strict=True)]

    return _read_all(model, sequences, read)


def _read_logprobs(logits_SV: Tensor, target_S: Tensor) -> list[float]:
    logp_S = logits_SV.gather(1, target_S[:, None])[:, 0] - logits_SV.logsumexp(dim=-1)
    values: list[float] = logp_S.double().tolist()
    return values


def _read_all(model: Any, sequences: Sequence[Continuation], read: Read[Found]) -> list[list[Found]]:
    found: list[list[Found]] = [[] for _ in sequences]
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for batch in _batches(model, sequences):
                for place, values in zip(batch, _read_batch(model, [sequences[i] for i in batch], read), strict=True):
                    found[place] = values
    finally:
        model.train(training)
    return found


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


def _read_batch(model: Any, sequences: Sequence[Continuation], read: Read[Found]) -> list[list[Found]]:
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
    found = []
    for row, sequence in enumerate(sequences):
        logits_SV = logits_BKV[row, sequence.start - 1 - first : len(sequence.ids) - 1 - first].float()
        target_S = torch.tensor(sequence.ids[sequence.start :], device=logits_SV.device)
        found.append(read(logits_SV, target_S))
    return found
