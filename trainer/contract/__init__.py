"""The contract between platform and trainer: what a run is (`RunSpec`), what it tells while it lives (events).

Importing this package loads neither torch nor Django; `tests/contract/test_imports.py` holds it to that.
"""

from trainer.contract.base import Contract, ExitCode
from trainer.contract.events import Event, EventLine, parse_event
from trainer.contract.recipe import Recipe
from trainer.contract.spec import DatasetFile, ModelFile, RunSpec
from trainer.contract.stages import StageConfig, stage_kinds
from trainer.contract.stages.base import TrainingStage
from trainer.contract.tasks import TaskSpec

__all__ = [
    "Contract",
    "DatasetFile",
    "Event",
    "EventLine",
    "ExitCode",
    "ModelFile",
    "Recipe",
    "RunSpec",
    "StageConfig",
    "TaskSpec",
    "TrainingStage",
    "parse_event",
    "stage_kinds",
]
