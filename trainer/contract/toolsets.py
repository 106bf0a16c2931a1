"""Toolsets as a run freezes them: which tools, over which corpus, within which limits, by which image."""

from typing import Any

from pydantic import Field, NonNegativeInt, PositiveInt

from trainer.contract.base import Contract

SHA256 = r"^[0-9a-f]{64}$"


class ToolLimits(Contract):
    """What a call from a run may take. The service has limits of its own beside these; the lower one holds."""

    call_seconds: float = Field(default=30.0, gt=0, le=600, allow_inf_nan=False)
    """Seconds that a caller waits for an answer."""
    output_characters: PositiveInt = Field(default=20_000, le=1_000_000)
    """Of a tool's answer that the policy reads; the rest is cut and the policy is told so."""
    top_k: PositiveInt = Field(default=10, le=50)
    """Sections that a search returns at most."""


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
    """The tools as OpenAI function schemas, as the service described them at launch."""
    limits: ToolLimits = ToolLimits()
    corpus: FrozenCorpus | None = None
    image_digest: str = ""
    """Contents of the container image that code runs in; empty when no tool runs code."""
    address: str
    """Of the service, such as http://127.0.0.1:8930. Its token is never written down."""
