"""Documents that begin alike, with their beginning written once: a prompt and the completions that follow it.

The policy then computes the beginning once for all of them. What it computes is the same: a token sees the beginning
and its own document whichever way they stand.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.data.documents import TokenizedDocument

SHORTEST_SHARED = 16
"""Tokens from which on a common beginning is written once; less is not worth the gathering."""
NO_STEM = -1


@dataclass(frozen=True)
class SharedPrefixes:
    """A row of M tokens in segments: documents, stems, and after each stem the branches that continue it."""

    ids_M: Tensor
    positions_M: Tensor
    """Count from 0 in each document; in a branch on from its stem."""
    segment_lengths: list[int]
    stems: list[int]
    """Per segment the number of the segment that it continues, or NO_STEM."""
    place_N: Tensor
    """Where each token of the documents one behind the other stands in the row."""


def share_prefixes(
    documents: Sequence[TokenizedDocument], *, device: torch.device, shortest: int = SHORTEST_SHARED
) -> SharedPrefixes | None:
    """The row of these documents with common beginnings of neighbours written once; None when nothing is gained."""
    runs = find_runs([ids for ids, _ in documents], shortest=shortest)
    if all(shared == 0 for _, shared in runs):
        return None
    ids: list[NDArray[np.int32]] = []
    positions: list[NDArray[np.int64]] = []
    places: list[NDArray[np.int64]] = []
    stems: list[int] = []
    first = end = 0

    def append(segment: NDArray[np.int32], start: int, stem: int) -> NDArray[np.int64]:
        """Returns where the segment stands."""
        nonlocal end
        ids.append(segment)
        positions.append(np.arange(start, start + len(segment)))
        stems.append(stem)
        end += len(segment)
        return np.arange(end - len(segment), end)

    for count, shared in runs:
        run = [document_ids for document_ids, _ in documents[first : first + count]]
        stem = len(stems) if shared else NO_STEM
        stem_places = append(run[0][:shared], 0, NO_STEM) if shared else np.zeros(0, np.int64)
        places += [np.concatenate([stem_places, append(one[shared:], shared, stem)]) for one in run]
        first += count
    return SharedPrefixes(
        ids_M=torch.from_numpy(np.concatenate(ids).astype(np.int64)).to(device),
        positions_M=torch.from_numpy(np.concatenate(positions)).to(device),
        segment_lengths=[len(segment) for segment in ids],
        stems=stems,
        place_N=torch.from_numpy(np.concatenate(places)).to(device),
    )


def find_runs(documents: Sequence[NDArray[np.int32]], *, shortest: int = SHORTEST_SHARED) -> list[tuple[int, int]]:
    """Runs of neighbouring documents as (how many, tokens that all begin with); 0 tokens for one that stands alone.

    A document joins the run before it unless that would cost more than it saves. Each keeps a token of its own.
    """
    runs: list[tuple[int, int]] = []
    stem: NDArray[np.int32] = np.zeros(0, np.int32)
    for ids in documents:
        count, shared = runs[-1] if runs else (0, 0)
        common = min(_common(stem, ids), len(ids) - 1, shared if count > 1 else len(stem) - 1)
        if common >= shortest and common * count >= shared * (count - 1):
            runs[-1] = (count + 1, common)
        else:
            runs.append((1, 0))
            stem = ids
    return runs


def _common(one: NDArray[np.int32], other: NDArray[np.int32]) -> int:
    """Tokens with which both begin."""
    length = min(len(one), len(other))
    differs = np.flatnonzero(one[:length] != other[:length])
    return int(differs[0]) if len(differs) else length
