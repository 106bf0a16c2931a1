"""Scoring the policy on tasks."""

from typing import Literal

from pydantic import Field

from trainer.contract.stages.base import StageBase


class EvaluateStage(StageBase):
    """Score the policy as it stands on tasks and put the scores on a board. Put one first to score the base."""

    kind: Literal["evaluate"] = "evaluate"
    tasks: list[str] = Field(min_length=1)
    """Names of tasks of the project."""
    board: str = Field(default="", pattern=r"^[a-z0-9_-]*$")
    """Board that receives the scores; empty keeps them with the run only."""
