"""Tool calls as they are stored: `tool_calls/step-00000012.jsonl.zst`, one `StoredToolCall` a line."""

from typing import Literal

from pydantic import Field, NonNegativeInt

from trainer.contract.base import Contract

CallStatus = Literal[
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
"""The service's terminal statuses. A call that never reached the service is `infra_error`."""


class StoredToolCall(Contract):
    """One call of one tool by one trajectory, as it ended."""

    call: str = Field(min_length=1, max_length=64)
    """Identity within the run, such as the id that the service gave the call. Stored once."""
    step: NonNegativeInt
    rollout: str = Field(max_length=80)
    """The trajectory: group and place of its rollout within the step, `3.1`."""
    turn: NonNegativeInt = 0
    """Place of the call in the trajectory."""
    tool: str = Field(min_length=1, max_length=80)
    arguments: str
    """JSON text as the policy wrote it, whether or not it parses."""
    status: CallStatus
    wall_ms: float = Field(ge=0, allow_inf_nan=False)
    output: str
    """What the policy read."""
    tries: NonNegativeInt = 1
    """How often the service was asked; 0 for a call that was never made."""
    at: float | None = Field(default=None, ge=0, le=2**33, allow_inf_nan=False)
    """When it ended: seconds since 1970, UTC."""
