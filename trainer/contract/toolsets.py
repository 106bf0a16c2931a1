"""Toolsets as a run freezes them: which tools, over which corpus, within which limits, by which image."""

from typing import Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from trainer.contract.base import Contract

KEY_VARIABLE = "TRAINER_TOOLS_KEY"
"""Environment variable of the trainer with the tool service's token, where the service wants one."""
SHA256 = r"^[0-9a-f]{64}$"


class ToolLimits(Contract):
    """What a policy with these tools may do, and what a call may take: the same in training, in evaluation and in a
    chat. The service has limits of its own beside those of a call; the lower one holds."""

    turns: PositiveInt = Field(default=6, le=1000)
    """Turns that the policy may write in an episode; calls in the last of them are not made."""
    calls_per_turn: PositiveInt = Field(default=4, le=100)
    """Calls of one turn that are made, side by side; of further ones the policy is told that they were not."""
    failed_calls: PositiveInt = Field(default=4, le=1000)
    """Calls that may fail for the policy's own fault, such as unknown tools and arguments that cannot be read; with
    the last of them the episode ends."""
    episode_seconds: float = Field(default=600.0, gt=0, le=86_400, allow_inf_nan=False)
    """Time for an episode, seen to between its turns."""
    retries: NonNegativeInt = Field(default=2, le=20)
    """How often a call is repeated when the service failed. After that its rollout is masked, not worth nothing."""
    output_cut: Literal["start", "middle", "end"] = "end"
    """Which part of a longer output is left out."""

    call_seconds: float = Field(default=30.0, gt=0, le=600, allow_inf_nan=False)
    """Seconds that a caller waits for an answer."""
    output_characters: PositiveInt = Field(default=20_000, le=1_000_000)
    """Of a tool's answer that the policy reads; the rest is cut and the policy is told so."""
    top_k: PositiveInt = Field(default=10, le=50)
    """Sections that a search returns at most."""


def cut_output(text: str, limits: ToolLimits) -> str:
    """What the policy reads of a tool's output; says how much was left out."""
    most = limits.output_characters
    if len(text) <= most:
        return text
    mark = f"[{len(text) - most} characters left out]"
    match limits.output_cut:
        case "start":
            return f"{mark}\n{text[-most:]}"
        case "middle":
            head = most - most // 2
            return f"{text[:head]}\n{mark}\n{text[len(text) - most // 2 :]}"
        case _:
            return f"{text[:most]}\n{mark}"


class FrozenCorpus(Contract):
    """The laws that the tools read."""

    dataset: str
    """Dataset version, `name@version`."""
    sha256: str = Field(pattern=SHA256)
    """Of the dataset version's rows."""
    corpus_sha256: str = Field(pattern=SHA256)
    """Of the corpus file made from them, which the service tells as its `corpus_hash`."""
    sections: NonNegativeInt
    language: str = ""
    """By which texts fall into words; empty: told from the letters."""


class ToolsetSpec(Contract):
    """One revision of a toolset with everything that its answers depend on."""

    name: str
    """Toolset and revision, `name@revision`."""
    tools: list[str] = Field(min_length=1)
    functions: list[dict[str, Any]] = []
    """What an OpenAI tool has as its `function` (name, description, parameters), as the service told it at launch."""
    limits: ToolLimits = ToolLimits()
    corpus: FrozenCorpus | None = None
    image_digest: str = ""
    """Contents of the container image that code runs in; empty when no tool runs code."""
    address: str
    """Of the service, such as http://127.0.0.1:8930. Its token is never written down."""
