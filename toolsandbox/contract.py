"""What the tool service takes and answers. The only part of `toolsandbox` that others import.

A program that fails is a result that the policy learns from; a sandbox that fails is `infra_error`: retry it,
never reward it. Arguments are flat scalars, for trainers that keep only type, description and enum of a property.
"""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, model_validator

Status = Literal[
    "ok",
    "error",
    "timeout",
    "oom",
    "output_limit",
    "disk_limit",
    "pids_limit",
    "killed",
    "rejected",
    "infra_error",
]


class ToolArguments(BaseModel):
    """Arguments as the policy writes them: flat scalars only."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ToolReply(BaseModel):
    """How one call ended: exactly one terminal status."""

    status: Status
    text: str
    """What the policy reads. Valid UTF-8."""
    retryable: bool = False
    """Only a sandbox that failed: the same call may well succeed a moment later."""
    truncated: bool = False
    wall_ms: float = 0.0
    queue_ms: float = 0.0


class CallRequest(BaseModel):
    """Body of `POST /v1/tools/<name>`."""

    model_config = ConfigDict(extra="forbid")

    arguments: dict[str, str | int | float | bool | None] | str = Field(default_factory=dict)
    """An object, or the JSON text of one as a policy wrote it."""
    session: str | None = Field(default=None, min_length=1, max_length=128)
    """One trajectory. Calls of one session share the state of stateful tools."""
    idempotency_key: str | None = Field(default=None, min_length=1, max_length=128)
    """The same key again, from the same tenant, gets the first call's reply."""


class CallReply(BaseModel):
    """Body of a reply to `POST /v1/tools/<name>`."""

    id: str
    tool: str
    session: str | None = None
    result: SerializeAsAny[ToolReply]


class SearchLaw(ToolArguments):
    query: str = Field(description="What to look for: words, a question, or a citation of a section.")
    top_k: int = Field(default=5, ge=1, le=50, description="How many sections to return, 1 to 50.")


class ReadLaw(ToolArguments):
    law_name: str = Field(description="Name of the law. A part of the name is enough where only one law has it.")
    section_num: str | None = Field(
        default=None,
        description="Section, such as 65, 65 ทวิ or 77/1; 65-70 or 65- for several. Without it, the whole law.",
    )


class LawHit(BaseModel):
    law_name: str
    section_num: str
    text: str
    score: float


class SearchReply(ToolReply):
    hits: list[LawHit] = []


LawAnswer = Literal["found", "unknown_law", "unknown_section", "ambiguous_law", "invalid"]


class ReadReply(ToolReply):
    """`status` is `ok` for `found` and `error` otherwise: a wrong name is something the policy learns from."""

    answer: LawAnswer
    law_name: str | None = None
    section_num: str | None = None
    candidates: list[str] = []
    """Laws, or sections, that the request may have meant."""
    next_section: str | None = None
    """Where a reply that was cut goes on."""


# Programs


class RunPython(ToolArguments):
    code: str = Field(description="Python program. Variables and files stay for the next call of the same session.")
    timeout_s: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="Seconds that the program may run; usually 10."
    )


class RunTests(ToolArguments):
    code: str = Field(description="Python program that defines what the tests call.")
    tests: str = Field(description="One assertion per line, for example: assert add(1, 2) == 3")
    timeout_s: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="Seconds that each test may run; usually 10."
    )


class CodeAnswer(BaseModel):
    """How a program ended. A program that fails is a result; a sandbox that fails is `infra_error`."""

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
    limit: Literal["wall", "cpu"] | None = None
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


class CodeReply(ToolReply):
    detail: CodeAnswer


class CaseVerdict(BaseModel):
    """One assertion. `status` is how its evaluation ended; only `ok` can have passed."""

    model_config = ConfigDict(frozen=True)

    test: str
    passed: bool
    status: Status
    detail: str = ""


class TestsAnswer(BaseModel):
    """`ok` when every test was judged, passed or not; `rejected` when nothing ran, `fault` saying whose doing it is."""

    model_config = ConfigDict(frozen=True)
    __test__ = False

    status: Status
    passed: int = 0
    total: int = 0
    cases: list[CaseVerdict] = []
    fault: Literal["code", "tests"] | None = None
    """What was rejected: the tests are not in the form (a row's fault), or the code is too large (the policy's)."""
    message: str = ""
    wall_ms: float = 0.0
    queue_ms: float = 0.0

    @property
    def all_passed(self) -> bool:
        return self.status == "ok" and self.total > 0 and self.passed == self.total


class TestsReply(ToolReply):
    __test__ = False

    detail: TestsAnswer


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

    @property
    def is_false(self) -> bool:
        return self.status == "ok" and self.has_value and self.value is False


# Verifiers: written functions that judge answers. None is used before it told known good from known bad.


class WrittenFunction(BaseModel):
    """Source that defines `function`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=128)
    source: str = Field(max_length=200_000)
    function: str = Field(default="evaluate", pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,199}$")


class Verifier(WrittenFunction):
    """A function with answers it must accept and answers it must refuse."""

    good: list[list[Any]] = Field(min_length=1, max_length=16)
    """Argument lists for which it must answer exactly True."""
    bad: list[list[Any]] = Field(min_length=1, max_length=16)
    """Argument lists for which it must answer exactly False."""


class VerifierCall(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    verifier: str
    arguments: list[Any]


class VerifyRequest(BaseModel):
    """Body of `POST /v1/verifiers`. Without `calls` it only says which verifiers may be used."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    verifiers: list[Verifier] = Field(min_length=1, max_length=64)
    calls: list[VerifierCall] = Field(default=[], max_length=4096)
    timeout_s: float = Field(default=2.0, gt=0, le=10, allow_inf_nan=False)
    """Of one call of a function, on the clock and of CPU time."""

    @model_validator(mode="after")
    def _calls_name_one_verifier_each(self) -> "VerifyRequest":
        _check_names(self.verifiers, self.calls, field="verifiers")
        return self


class VerifierReport(BaseModel):
    name: str
    admitted: bool | None
    """None where the sandbox failed, which proves nothing of the verifier."""
    reason: str = ""


class VerifierVerdict(BaseModel):
    verifier: str
    status: Status
    """`ok` with a verdict; `rejected` where the verifier was not admitted; else how its function failed."""
    passed: bool | None
    detail: str = ""


class VerifyReply(BaseModel):
    """`verifiers` and `verdicts` come in the order of the request."""

    status: Literal["ok", "infra_error"]
    retryable: bool = False
    """The sandbox failed for some: ask for those again, reward none of them."""
    verifiers: list[VerifierReport]
    verdicts: list[VerifierVerdict]
    wall_ms: float = 0.0
    queue_ms: float = 0.0


# Functions on trial: what they answer, before anybody knows whether they can be verifiers.


class TrialRequest(BaseModel):
    """Body of `POST /v1/functions`. Nothing vouches for the functions: their answers are a finding, no judgement."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    functions: list[WrittenFunction] = Field(min_length=1, max_length=64)
    calls: list[VerifierCall] = Field(min_length=1, max_length=4096)
    timeout_s: float = Field(default=2.0, gt=0, le=10, allow_inf_nan=False)
    """Of one call of a function, on the clock and of CPU time."""

    @model_validator(mode="after")
    def _calls_name_one_function_each(self) -> "TrialRequest":
        _check_names(self.functions, self.calls, field="functions")
        return self


class TrialReply(BaseModel):
    """`verdicts` come in the order of the request's calls."""

    status: Literal["ok", "infra_error"]
    retryable: bool = False
    """The sandbox failed for some: ask for those again."""
    verdicts: list[VerifierVerdict]
    wall_ms: float = 0.0
    queue_ms: float = 0.0


def _check_names(functions: Sequence[WrittenFunction], calls: Sequence[VerifierCall], *, field: str) -> None:
    """Raises ValueError for two of one name, and for a call of none."""
    names = {function.name for function in functions}
    if len(names) < len(functions):
        raise ValueError(f"{field}: two have the same name; give each one of its own")
    for place, call in enumerate(calls):
        if call.verifier not in names:
            raise ValueError(f"calls[{place}].verifier: there is no verifier {call.verifier[:100]!r} in this request")
