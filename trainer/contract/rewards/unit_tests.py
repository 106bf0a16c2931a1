"""The tool sandbox runs the program in the answer against the row's tests."""

from typing import Any, Literal

from pydantic import Field, PositiveFloat

from trainer.contract.endpoints import Address, EndpointError, call
from trainer.contract.rewards.base import AnswerRewardBase

ROUTE = "/v1/tools/run_tests"
PROBE = {"code": "def answer():\n    return 6 * 7\n", "tests": "assert answer() == 42"}
PROBE_SECONDS = 30.0
"""Enough for a sandbox that is just filling its pool."""


class Sandbox(Address):
    """A tool sandbox, as `python -m toolsandbox serve` runs it with a container engine."""

    base_url: str = Field(examples=["http://127.0.0.1:8930"])
    """Address without a path, as the service's log names it."""


class UnitTestsReward(AnswerRewardBase):
    """Whether the program in the answer passes the row's tests, judged by the sandbox. A sandbox that fails masks."""

    kind: Literal["unit_tests"] = "unit_tests"
    sandbox: Sandbox
    """Where the programs are run. Never on the machine of the trainer itself, unless the sandbox is there."""
    tests: str = Field(default="tests", min_length=1)
    """Row field with the assertions: a text, or a list of texts. The expected side of each is a literal."""
    setup: str = ""
    """Row field with Python put before the answer's program, such as imports; empty: none."""
    counts: Literal["all", "share"] = "all"
    """What the value is: 1 only where every test passes, or the share of the tests that pass."""
    test_seconds: float | None = Field(default=None, gt=0, le=600, allow_inf_nan=False)
    """Time for one test, within what the sandbox allows; empty: the sandbox's own limit."""
    attempts: int = Field(default=4, ge=1, le=10)
    """Tries for one program while the sandbox is busy, away or fails."""
    concurrency: int = Field(default=16, ge=1, le=256)
    """Programs that the sandbox is asked to run at the same time."""
    seconds: PositiveFloat = 120.0
    """Time for one call: waiting for a container (30 s) and all tests of a program (60 s) fit into the default."""
    total_seconds: PositiveFloat = 1200.0
    """Time for all programs of a step; what is not judged by then is masked."""

    def row_fields(self) -> tuple[str, ...]:
        return (self.tests,)

    def unreachable(self) -> str:
        reason = probe(self.sandbox, test_seconds=self.test_seconds)
        return f"sandbox: {reason}" if reason else ""


def write_request(*, code: str, tests: str, test_seconds: float | None) -> dict[str, Any]:
    """Body of a call of the sandbox's `run_tests`."""
    limit = {} if test_seconds is None else {"timeout_s": test_seconds}
    return {"arguments": {"code": code, "tests": tests, **limit}}


def probe(sandbox: Sandbox, *, test_seconds: float | None, seconds: float = PROBE_SECONDS) -> str:
    """Why no program can be tested there, as a sentence with the way out; empty when one just was."""
    where = sandbox.base_url
    try:
        reply = call(sandbox, ROUTE, write_request(**PROBE, test_seconds=test_seconds), seconds=seconds)
    except EndpointError as error:
        if error.status in (404, 405):
            return f"{where} offers no run_tests. Start it without --no-code, or give its address without a path."
        way_out = "Mend the sandbox" if error.status == 503 else "Start the sandbox, or correct the address"
        return f"{str(error).rstrip('.')}. {way_out}."
    result: Any = reply.get("result") if isinstance(reply, dict) else None
    detail = result.get("detail") if isinstance(result, dict) else None
    if isinstance(detail, dict) and result.get("status") == "ok" and detail.get("passed") == detail.get("total") == 1:
        return ""
    said = str(result.get("text", ""))[:160] if isinstance(result, dict) else ""
    return f"{where} could not judge a program that is right{': ' + said if said else ''}. Mend the sandbox."
