"""What every message of the contract shares."""

from enum import IntEnum

from pydantic import BaseModel, ConfigDict


class Contract(BaseModel):
    """A message between programs: unknown fields are refused, values never change after creation."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ExitCode(IntEnum):
    """How a trainer process ends. The supervisor decides the attempt's state by this number alone."""

    FINISHED = 0
    INVALID_SPEC = 2
    FAILED = 3
    STOPPED = 4
    """Stopped on request after saving a checkpoint: the run can be resumed."""
