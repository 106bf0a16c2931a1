"""What the sampling loop asks of a model's forward pass. Tensors: P prompts, R rows in work, V vocabulary."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class Decoder(Protocol):
    """Keys and values of the rows in work, which stand at places 0 to R − 1."""

    refills: bool
    """Whether rows may be admitted while others are in work."""

    def admit(self, prompts: Sequence[Sequence[int]], copies: Sequence[int]) -> Tensor:
        """Compute each prompt once and add `copies` rows of it behind those in work; logits (P, V) after the prompt."""

    def step(self, token_R: Tensor) -> Tensor:
        """Add one token to every row; logits (R, V) after it."""

    def keep(self, order: Sequence[int]) -> None:
        """Row `order[place]` moves to `place`; rows not named are dropped."""
