"""Dynamic model swapping: what a phase of an optimiser step does not read is kept elsewhere meanwhile.

    phase      needs
    rollout    the policy's weights, the sampler's copy of them
    teacher    a teacher, a reference that is read apart from the policy
    student    the policy's weights and gradients, the teacher's output head, a reference that is read beside it
    update     weights, gradients, the optimiser's moments
    save       weights, moments, what else a checkpoint holds

From a GPU tensors go to pinned memory of the CPU, from a CPU to a file. They come back bit for bit, so that a run with
swapping is the run without. The sampler's copy is not kept at all but made anew from the weights. Models that are asked
for outside of their phase come back by themselves; a tensor that nobody fetched holds NaN, lest anything be computed
with it unnoticed.
"""

import ctypes
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, Protocol

import torch
from torch import Tensor

from trainer.failures import RunFailed
from trainer.policy import Policy
from trainer.sharding import read_own

Phase = Literal["rollout", "teacher", "student", "update", "save"]
Tensors = Callable[[], Iterable[Tensor]]
"""Those that exist now: an optimiser makes its moments at its first step."""


class Shelf(Protocol):
    """Where some tensors are kept. Their number, sizes and order never change."""

    def put(self, values: Sequence[Tensor]) -> None:
        """Keep copies in place of what was kept before."""

    def take(self, likes: Sequence[Tensor]) -> list[Tensor]:
        """New tensors with what was put last, on the devices of `likes`, which may be placeholders."""


class PinnedMemory:
    """Memory of the CPU that a GPU reads and writes by itself; kept as long as the shelf."""

    def __init__(self) -> None:
        self._kept: list[Tensor] = []

    def put(self, values: Sequence[Tensor]) -> None:
        self._kept = self._kept or [
            torch.empty(value.shape, dtype=value.dtype, pin_memory=value.is_cuda) for value in values
        ]
        for kept, value in zip(self._kept, values, strict=True):
            kept.copy_(value, non_blocking=True)
        if values and values[0].is_cuda:
            torch.cuda.synchronize(values[0].device)

    def take(self, likes: Sequence[Tensor]) -> list[Tensor]:
        return [
            kept.to(like.device, non_blocking=True, copy=True) for kept, like in zip(self._kept, likes, strict=True)
        ]


class DiskFile:
    """A file without a name: it is gone when the process is, however that ends."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file: IO[bytes] | None = None

    def put(self, values: Sequence[Tensor]) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._directory, buffering=0)  # noqa: SIM115 - lives on
                weakref.finalize(self, self._file.close)
            self._file.seek(0)
            for value in values:
                content = _bytes_of(value.contiguous())
                while content:
                    content = content[self._file.write(content) :]
        except OSError as error:
            raise RunFailed(
                f"what is swapped out could not be written to {self._directory} ({error.strerror}); free space there "
                "or set compute.swap to off."
            ) from error

    def take(self, likes: Sequence[Tensor]) -> list[Tensor]:
        assert self._file is not None
        self._file.seek(0)
        taken = []
        for like in likes:
            value = torch.empty(like.shape, dtype=like.dtype, device=like.device)
            content = _bytes_of(value)
            while content:
                read = self._file.readinto(content)  # type: ignore[attr-defined]
                if not read:
                    raise RunFailed(f"what was swapped out to {self._directory} is no longer there; resume the run.")
                content = content[read:]
            taken.append(value)
        return taken


@dataclass
class Holding:
    """Tensors that come and go together."""

    name: str
    tensors: Tensors
    phases: frozenset[Phase]
    changes: bool
    """Whether training changes them: if not, they are put away once and afterwards only dropped."""
    shelf: Shelf
    away: list[Tensor] | None = None
    """Those that are placeholders now."""
    put: bool = False


class Placement:
    """Where everything is in which phase. Without `make_shelf` all stays where it is."""

    def __init__(self, make_shelf: Callable[[], Shelf] | None = None) -> None:
        self._make_shelf = make_shelf
        self._holdings: list[Holding] = []
        self._policies: list[Policy] = []
        self._after_rollout: list[Callable[[], None]] = []
        self.phase: Phase | None = None

    @property
    def swaps(self) -> bool:
        return self._make_shelf is not None

    def hold(self, name: str, tensors: Tensors, *, phases: Iterable[Phase], changes: bool) -> "Holding | None":
        """From now on these are where they are needed in `phases` only. They must be there at this moment."""
        if self._make_shelf is None:
            return None
        holding = Holding(name, tensors, frozenset(phases), changes, self._make_shelf())
        self._holdings.append(holding)
        return holding

    def hold_policy(
        self, name: str, policy: Policy, *, phases: Iterable[Phase], head: Iterable[Phase] = (), changes: bool = False
    ) -> None:
        """Its weights, of which the output head is needed in the phases `head` as well. One cut over ranks stays."""
        if policy.sharded or not self.swaps:
            return
        phases, weight_VH = set(phases), policy.model.get_output_embeddings().weight
        ends = {id(weight_VH)}

        def body() -> list[Tensor]:
            return [weight for weight in policy.model.parameters() if id(weight) not in ends]

        parts = [
            self.hold(name, body, phases=phases, changes=changes),
            self.hold(f"{name}'s head", lambda: [weight_VH], phases=phases | set(head), changes=changes),
        ]
        policy.fetch = lambda: self._fetch([part for part in parts if part is not None])
        self._policies.append(policy)

    def after_rollout(self, drop: Callable[[], None]) -> None:
        """Call `drop` whenever another phase begins."""
        self._after_rollout.append(drop)

    def enter(self, phase: Phase) -> None:
        """Put away what the phase does not need, then fetch what it does."""
        if not self.swaps or phase == self.phase:
            return
        self.phase = phase
        if phase != "rollout":
            for drop in self._after_rollout:
                drop()
        for holding in self._holdings:
            if phase not in holding.phases:
                _put_away(holding)
        _return_freed_memory()
        self._fetch([holding for holding in self._holdings if phase in holding.phases])

    def close(self) -> None:
        """Bring back what the next stage goes on with and forget the rest."""
        self._fetch([holding for holding in self._holdings if holding.changes])
        for policy in self._policies:
            policy.fetch = None
        self._holdings, self._policies, self._after_rollout, self.phase = [], [], [], None
        self._make_shelf = None

    def _fetch(self, holdings: Sequence[Holding]) -> None:
        for holding in holdings:
            if holding.away is None:
                continue
            for tensor, value in zip(holding.away, holding.shelf.take(holding.away), strict=True):
                tensor.data = value
            holding.away = None
            # A phase that begins later must look at this again, even when it is the one that it stands in now.
            self.phase = self.phase if self.phase in holding.phases else None


@torch.no_grad()
def _put_away(holding: Holding) -> None:
    if holding.away is not None:
        return
    tensors = [own for tensor in holding.tensors() if (own := read_own(tensor)).numel() > 1]
    if not tensors:
        return
    if holding.changes or not holding.put:
        holding.shelf.put([tensor.detach() for tensor in tensors])
        holding.put = True
    for tensor in tensors:
        # The right shape, and NaN whatever is read: one number stands for all of them.
        tensor.data = torch.full((1,) * tensor.ndim, torch.nan, dtype=tensor.dtype, device=tensor.device).expand(
            tensor.shape
        )
    holding.away = tensors


def _bytes_of(value: Tensor) -> memoryview:
    """The memory of a contiguous tensor on the CPU."""
    return memoryview(value.detach().flatten().view(torch.uint8).numpy())  # type: ignore[arg-type] # an array is one


def _return_freed_memory() -> None:
    """glibc keeps freed blocks of up to 32 MiB for later ones of like size: they would be holes in place of room."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
