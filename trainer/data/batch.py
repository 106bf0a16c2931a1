"""Documents → the tensors of one micro-batch."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from trainer.data.documents import TokenizedDocument
from trainer.data.prefixes import SharedPrefixes, share_prefixes
from trainer.losses import IGNORED


@dataclass(frozen=True)
class TokenBatch:
    """Documents one behind the other in a single row of N tokens, without padding."""

    ids_N: Tensor
    positions_N: Tensor
    """Count from 0 in each document."""
    labels_N: Tensor
    """The next token of the same document where that is a target; IGNORED elsewhere and at each document's end."""
    document_lengths: list[int]
    targets: int
    """Positions that have a label."""
    shared: SharedPrefixes | None = field(default=None, kw_only=True)
    """The same documents with common beginnings written once, which is how the policy reads them where it is set."""

    def __len__(self) -> int:
        return len(self.ids_N)


def flatten(documents: Sequence[TokenizedDocument], *, device: torch.device) -> TokenBatch:
    ids, positions, labels = [], [], []
    for document_ids, trained in documents:
        ids.append(document_ids.astype(np.int64))
        positions.append(np.arange(len(document_ids)))
        shifted = np.full(len(document_ids), IGNORED, dtype=np.int64)
        shifted[:-1] = np.where(trained[1:], document_ids[1:], IGNORED)
        labels.append(shifted)
    labels_N = np.concatenate(labels)
    return TokenBatch(
        ids_N=torch.from_numpy(np.concatenate(ids)).to(device),
        positions_N=torch.from_numpy(np.concatenate(positions)).to(device),
        labels_N=torch.from_numpy(labels_N).to(device),
        document_lengths=[len(document_ids) for document_ids, _ in documents],
        targets=int((labels_N != IGNORED).sum()),
        shared=share_prefixes(documents, device=device),
    )
