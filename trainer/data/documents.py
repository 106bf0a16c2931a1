"""Tokens of many documents in flat arrays: 5 bytes a token, no Python object per row."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data.rows import Row, RowFile
from trainer.failures import InvalidSpec

ROWS_AT_ONCE = 256
TRAINED, APART = 1, 2

TokenizedDocument = tuple[NDArray[np.int32], NDArray[np.bool_]]
"""Token ids, and whether each is a target."""


@dataclass(frozen=True)
class Piece:
    """A stretch of a document that is tokenised on its own, as it would be when sampled."""

    text: str
    trained: bool
    """Whether its tokens are targets of the loss."""
    apart: bool = False
    """Whether it begins a part of the document that sees nothing of what stands before, such as the second answer of
    a pair. Parts go through the policy in the same micro-batch."""


Document = list[Piece]
Render = Callable[[Row], list[Document]]


def begin_apart(document: Sequence[Piece]) -> Document:
    """The document as a further part of the one it is appended to."""
    first, *rest = document
    return [replace(first, apart=True), *rest]


@dataclass(frozen=True)
class DocumentStore:
    """D documents with N tokens in all; document d lies at `starts_D1[d]` up to `starts_D1[d + 1]`."""

    name: str
    ids_N: NDArray[np.int32]
    flags_N: NDArray[np.uint8]
    """TRAINED where a token is a target, APART where it begins a further part of its document."""
    starts_D1: NDArray[np.int64]
    rows: int
    cut: int
    """Documents that were longer than a sequence and lost their end."""
    untaught: int
    """Documents left out because no token of theirs is a target."""
    too_long: int = 0
    """Documents left out because they are longer than a sequence and must not lose their end."""

    def __len__(self) -> int:
        return len(self.starts_D1) - 1

    @cached_property
    def lengths_D(self) -> NDArray[np.int64]:
        return np.diff(self.starts_D1)

    @property
    def targets(self) -> int:
        """Tokens that train."""
        return int(np.count_nonzero(self.flags_N & TRAINED))

    def document(self, number: int) -> TokenizedDocument:
        """Token ids and whether each is a target, all parts together."""
        span = slice(self.starts_D1[number], self.starts_D1[number + 1])
        return self.ids_N[span], (self.flags_N[span] & TRAINED).astype(np.bool_)

    def parts(self, number: int) -> list[TokenizedDocument]:
        """The document as the policy reads it: nearly always one part."""
        ids, trained = self.document(number)
        span = slice(self.starts_D1[number], self.starts_D1[number + 1])
        edges = [0, *np.flatnonzero(self.flags_N[span] & APART).tolist(), len(ids)]
        return [(ids[start:end], trained[start:end]) for start, end in pairwise(edges)]


def tokenize_rows(
    rows: RowFile,
    render: Render,
    tokenizer: Any,
    *,
    longest: int,
    progress: Callable[[int], None],
    may_cut: bool = True,
) -> DocumentStore:
    """Render and tokenise every row, each document cut to `longest` tokens. `progress` hears of rows done.

    Documents that keep no target after their first token can teach nothing; they are left out and counted. So are,
    unless one `may_cut`, those that are too long.
    """
    ids, flags, starts = array("i"), bytearray(), array("q", [0])
    cut = untaught = too_long = done = 0
    for chunk in _chunks(rows, ROWS_AT_ONCE):
        documents = [
            document
            for number, row in enumerate(chunk, start=done + 1)
            for document in _render(rows.name, number, row, render)
        ]
        encoded = iter(_encode(tokenizer, [piece.text for document in documents for piece in document]))
        for document in documents:
            whole = 0
            for piece in document:
                piece_ids = next(encoded)
                kept = piece_ids[: max(0, longest - whole)]
                whole += len(piece_ids)
                ids.extend(kept)
                flags.extend(bytes([TRAINED * piece.trained]) * len(kept))
                if piece.apart and kept:
                    flags[-len(kept)] |= APART
            if whole > longest and not may_cut:
                too_long += 1
                del ids[starts[-1] :], flags[starts[-1] :]
            elif flags.find(TRAINED, starts[-1] + 1) < 0:
                untaught += 1
                cut += whole > longest
                del ids[starts[-1] :], flags[starts[-1] :]
            else:
                cut += whole > longest
                starts.append(len(ids))
        done += len(chunk)
        progress(done)
    return DocumentStore(
        name=rows.name,
        ids_N=np.frombuffer(ids, dtype=np.int32) if ids else np.zeros(0, np.int32),
        flags_N=np.frombuffer(flags, dtype=np.uint8) if flags else np.zeros(0, np.uint8),
        starts_D1=np.frombuffer(starts, dtype=np.int64),
        rows=done,
        cut=cut,
        untaught=untaught,
        too_long=too_long,
    )


def _render(name: str, number: int, row: Row, render: Render) -> list[Document]:
    try:
        return render(row)
    except KeyError as error:
        raise InvalidSpec(f"datasets.{name}: row {number} has no field {error}.") from error
    except (IndexError, TypeError, ValueError) as error:
        raise InvalidSpec(f"datasets.{name}: row {number} cannot be rendered: {error}") from error


def _encode(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    if not texts:
        return []
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:  # leaves out the character offsets that nobody asks for
        return [encoding.ids for encoding in backend.encode_batch_fast(texts, add_special_tokens=False)]
    ids: list[list[int]] = tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)[
        "input_ids"
    ]
    return ids


def _chunks(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    iterator = iter(rows)
    while chunk := list(islice(iterator, size)):
        yield chunk
