"""What a stage says of its memory: how much it computes at once, and which models stand beside the policy."""

from typing import Literal, NamedTuple


class FrozenModel(NamedTuple):
    """Weights that are read and never trained."""

    name: str
    """Of the plan's line: teacher, reference."""
    model: str
    """Model of the project; empty: a copy of the policy."""
    phase: Literal["teacher", "student"]
    """Where its layers are needed: before the policy's passes, or between them."""
    tokens: int
    """Most tokens that go through it at a time."""
    kept_tokens: int = 0
    """Hidden states of it that are kept until the policy has learned from them."""
    head_with_student: bool = False
    """Whether the loss multiplies by its output head."""
    beside_policy: bool = False
    """Whether the policy makes passes in its phase, too."""
    saved: bool = False
    """Whether checkpoints hold it."""


class Sampling(NamedTuple):
    """The largest call of the sampler."""

    rows: int
    tokens: int
    """Of prompt and completion together, at most."""
    prompt_tokens: int
    """Of one prompt, at most."""
    prompts: int
    nucleus: bool
    """Whether tokens are drawn from a part of the vocabulary, for which it is sorted."""
    vllm: bool = False
    """Whether vLLM samples, with weights, keys and values of its own."""
    while_learning: bool = False
    """Whether it goes on while the policy learns."""
