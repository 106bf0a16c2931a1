"""SandboxFusion's wire format: its requests, its replies, and its rules for `status`, over our answers.

Shapes, names and the rule that a failed program is HTTP 200 are theirs. A sandbox that failed is never in a reply: the
route answers 504, which their clients ask again.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from toolsandbox.contract import CodeAnswer

Language = Literal[
    "python", "cpp", "nodejs", "go", "go_test", "java", "php", "csharp", "bash", "typescript", "sql", "rust", "cuda",
    "lua", "R", "perl", "D_ut", "ruby", "scala", "julia", "pytest", "junit", "kotlin_script", "jest", "verilog",
    "python_gpu", "lean", "swift", "racket",
]  # fmt: skip
RunStatus = Literal["Success", "Failed", "SandboxError"]
KILLED = 137
"""Return code where we ended the program: a shell shows this of a program that was killed."""
REASONS = {
    "oom": "out of memory",
    "output_limit": "the program was stopped: it wrote more than it may",
    "disk_limit": "the disk of the sandbox is full",
    "pids_limit": "the program has as many processes as it may",
}


class RunCodeRequest(BaseModel):
    """Fields that a client adds are ignored, as the original does."""

    model_config = ConfigDict(extra="ignore")

    code: str
    language: Language
    compile_timeout: float = Field(default=10.0, ge=0, le=600, allow_inf_nan=False)
    """Counts only towards how long a client waits: nothing here is compiled."""
    run_timeout: float = Field(default=10.0, gt=0, le=600, allow_inf_nan=False)
    memory_limit_MB: int = -1
    """The container's own limit holds, whatever is asked for."""
    stdin: str | None = None
    files: dict[str, str | None] = Field(default={}, max_length=256)
    fetch_files: list[str] = Field(default=[], max_length=256)
    args: list[str] = []


class RunJupyterRequest(BaseModel):
    model_config = ConfigDict(extra="ignore")

    cells: list[str] = Field(max_length=512)
    cell_timeout: float = Field(default=0.0, ge=0, le=600, allow_inf_nan=False)
    """0 leaves a cell all the time that is left."""
    total_timeout: float = Field(default=45.0, gt=0, le=600, allow_inf_nan=False)
    memory_limit_MB: int = -1
    kernel: Literal["python3"] = "python3"
    files: dict[str, str | None] = Field(default={}, max_length=256)
    fetch_files: list[str] = Field(default=[], max_length=256)


class CommandRunResult(BaseModel):
    status: Literal["Finished", "Error", "TimeLimitExceeded"]
    execution_time: float | None = None
    """Seconds."""
    return_code: int | None = None
    stdout: str | None = None
    stderr: str | None = None


class RunCodeResponse(BaseModel):
    status: RunStatus
    message: str = ""
    compile_result: CommandRunResult | None = None
    run_result: CommandRunResult | None = None
    executor_pod_name: str | None = None
    files: dict[str, str] = {}


class CellRunResult(BaseModel):
    stdout: str = ""
    stderr: str = ""
    display: list[dict[str, Any]] = []
    """One per shown value: its text and pictures by media type, as Jupyter has them."""
    error: list[dict[str, Any]] = []
    """`ename`, `evalue` and `traceback` of what the cell raised."""


class RunJupyterResponse(BaseModel):
    status: RunStatus
    message: str = ""
    driver: CommandRunResult | None = None
    cells: list[CellRunResult] = []
    executor_pod_name: str | None = None
    files: dict[str, str] = {}


def describe_run(answer: CodeAnswer) -> CommandRunResult:
    """A run as a shell would tell it: a signal is 128 and its number, a time-out has no return code."""
    seconds = round(answer.wall_ms / 1e3, 6)
    if answer.status == "timeout":
        return CommandRunResult(
            status="TimeLimitExceeded", execution_time=seconds, stdout=answer.stdout, stderr=answer.stderr
        )
    code = 128 + answer.signal if answer.signal is not None else answer.exit_code
    return CommandRunResult(
        status="Finished",
        execution_time=seconds,
        return_code=KILLED if code is None else code,
        stdout=answer.stdout,
        stderr=answer.stderr,
    )


def name_status(run: CommandRunResult) -> RunStatus:
    if run.status == "Error":
        return "SandboxError"
    return "Success" if run.status == "Finished" and run.return_code == 0 else "Failed"


def write_reply(answer: CodeAnswer, files: dict[str, str], message: str) -> RunCodeResponse:
    """Of an answer that is neither `infra_error` nor `rejected`."""
    run = describe_run(answer)
    return RunCodeResponse(
        status=name_status(run), message=REASONS.get(answer.status, message), run_result=run, files=files
    )
