"""What a policy with tools may do: the same limits in training, in evaluation and in a chat."""

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from trainer.contract.base import Contract


class EpisodeLimits(Contract):
    """One episode: the policy writes turns, tools answer its calls, until it answers without calling."""

    turns: PositiveInt = 6
    """Turns that the policy may write; calls in the last of them are not made."""
    calls_per_turn: PositiveInt = 4
    """Calls of one turn that are made, side by side; the policy is told that further ones were not."""
    failed_calls: PositiveInt = 4
    """Calls that may fail for the policy's own fault, such as unknown tools and arguments that cannot be read; the
    episode ends with the last of them."""
    output_characters: int = Field(default=2000, ge=64)
    """Most characters of what a tool says that the policy reads."""
    output_cut: Literal["start", "middle", "end"] = "end"
    """Which part of a longer output is left out."""
    call_seconds: PositiveFloat = 30.0
    """Time for one call, waiting for its turn included. A tool that is silent for longer has failed, not the policy."""
    episode_seconds: PositiveFloat = 600.0
    """Time for the episode; checked between turns."""
    retries: NonNegativeInt = 2
    """How often a call is repeated when the tool service failed; then the rollout is masked."""


def cut_output(text: str, limits: EpisodeLimits) -> str:
    """What the policy reads of a tool's output; says how much was left out."""
    most = limits.output_characters
    if len(text) <= most:
        return text
    mark = f"[{len(text) - most} characters left out]"
    match limits.output_cut:
        case "start":
            return f"{mark}\n{text[-most:]}"
        case "end":
            return f"{text[:most]}\n{mark}"
        case "middle":
            head = most - most // 2
            return f"{text[:head]}\n{mark}\n{text[len(text) - most // 2 :]}"
