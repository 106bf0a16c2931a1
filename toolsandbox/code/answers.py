"""What a call of a code tool answers. A program that fails is a result; a sandbox that fails is `infra_error`."""

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from toolsandbox.contract import Status

Limit = Literal["wall", "cpu"]


class CodeAnswer(BaseModel):
    model_config = ConfigDict(frozen=True)

    status: Status
    exit_code: int | None = None
    """None where the program did not end by itself."""
    signal: int | None = None
    stdout: str = ""
    stderr: str = ""
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    truncated: bool = False
    """The output was cut at the limit, and the program was killed for it."""
    limit: Limit | None = None
    """Which clock a `timeout` ran out on."""
    message: str = ""
    """One sentence for `rejected` and `infra_error`."""
    oom_child: bool = False
    """A process of the program was killed for memory although the program itself went on."""
    session_reset: bool = False
    """The variables of the session are lost; its files are kept."""
    session_lost: bool = False
    """The container of the session is gone: variables and files are lost."""
    first_output_ms: float | None = None
    """From sending the call to the first byte of its output; None where there was none."""
    wall_ms: float = 0.0
    cpu_ms: float = 0.0
    queue_ms: float = 0.0
    image_digest: str = ""
    policy_digest: str = ""

    @property
    def retryable(self) -> bool:
        return self.status == "infra_error"


class ValueAnswer(BaseModel):
    """Outcome of one expression or pure function: a plain JSON value, or why there is none."""

    model_config = ConfigDict(frozen=True)

    status: Status
    value: Any = None
    has_value: bool = False
    detail: str = ""
    """Last line of the error, or why the value was refused."""
    wall_ms: float = 0.0

    @property
    def is_true(self) -> bool:
        """Strictly the boolean true: not 1, not a word, not an object that says so of itself."""
        return self.status == "ok" and self.has_value and self.value is True


class CaseVerdict(BaseModel):
    model_config = ConfigDict(frozen=True)

    test: str
    passed: bool
    status: Status
    detail: str = ""


class TestsAnswer(BaseModel):
    """`status` is `ok` when every test was judged, passed or not; `infra_error` when the sandbox failed."""

    model_config = ConfigDict(frozen=True)
    __test__ = False

    status: Status
    passed: int = 0
    total: int = 0
    cases: list[CaseVerdict] = []
    message: str = ""
    wall_ms: float = 0.0
    queue_ms: float = 0.0

    @property
    def all_passed(self) -> bool:
        return self.status == "ok" and self.total > 0 and self.passed == self.total


def read_told(raw: bytes) -> dict[str, Any] | None:
    """What a program sent as its answer: an object of strict JSON in text that can be sent on; anything else is None.

    The program may have forged it. Lone surrogates would break the reply that carries them.
    """
    try:
        told = json.loads(raw, parse_constant=_refuse_constant)
        json.dumps(told, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
