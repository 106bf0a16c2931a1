"""One file per stage kind. A new file here with a `StageBase` subclass is a new kind: no list to edit.

A stage may also stand in the file of its algorithm, `trainer/algorithms/<kind>.py`; such a file must load no torch
when it is imported.
"""

import importlib
import pkgutil
from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from trainer.contract.stages.base import DataSource, OptimizerConfig, StageBase, TrainingStage

_own = {module.name for module in pkgutil.iter_modules(__path__)}
for _name in sorted(_own):
    importlib.import_module(f"{__name__}.{_name}")
_algorithms = importlib.import_module("trainer.algorithms")
for _module in pkgutil.iter_modules(_algorithms.__path__):
    if _module.name not in _own:  # those with a file of the same name here have their stage in it, and may load torch
        importlib.import_module(f"trainer.algorithms.{_module.name}")


def _concrete(cls: type[StageBase]) -> list[type[StageBase]]:
    found = [cls] if "kind" in cls.model_fields else []
    return found + [leaf for child in cls.__subclasses__() for leaf in _concrete(child)]


def stage_kinds() -> dict[str, type[StageBase]]:
    """Every stage kind by its name, in alphabetical order."""
    return dict(sorted((str(cls.model_fields["kind"].default), cls) for cls in _concrete(StageBase)))


if TYPE_CHECKING:
    StageConfig = StageBase
else:
    StageConfig = Annotated[Union[tuple(stage_kinds().values())], Field(discriminator="kind")]  # noqa: UP007

__all__ = ["DataSource", "OptimizerConfig", "StageBase", "StageConfig", "TrainingStage", "stage_kinds"]
