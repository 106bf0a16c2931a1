"""What the answer cites exists."""

from typing import Any, Literal

from pydantic import Field, PositiveFloat

from trainer.contract.endpoints import Address, EndpointError, call
from trainer.contract.rewards.base import AnswerRewardBase

ROUTE = "/v1/tools/read_law"
PROBE_SECONDS = 10.0


class LawService(Address):
    """A tool service with a corpus of law."""

    base_url: str = Field(examples=["http://127.0.0.1:8930"])
    """Address without a path."""


class ValidCitationReward(AnswerRewardBase):
    """Share of the answer's citations that the corpus has; 0 for an answer that cites nothing."""

    kind: Literal["valid_citation"] = "valid_citation"
    service: LawService
    """Where sections are looked up."""
    laws: list[str] = []
    """Names of laws to be recognised in text, beside what begins as a Thai law does."""
    seconds: PositiveFloat = 30.0
    """Time for one section."""

    def unreachable(self) -> str:
        try:
            read(self.service, "", "1", seconds=PROBE_SECONDS)
        except EndpointError as error:
            return f"service: {str(error).rstrip('.')}. Start the tool service with a corpus, or correct the address."
        return ""


def read(service: LawService, law: str, section: str, *, seconds: float) -> str:
    """How the service answers a wish to read a section: `found`, `unknown_section` ...; raises EndpointError."""
    arguments = {"law_name": law, "section_num": section}
    reply: Any = call(service, ROUTE, {"arguments": arguments}, seconds=seconds)
    try:
        return str(reply["result"].get("answer", "invalid"))
    except (AttributeError, KeyError, TypeError) as error:
        raise EndpointError(f"{service.base_url} does not answer as a tool service does.") from error
