"""One file per algorithm. A new file here with an `Algorithm` that has a `stage_class` is found: no list to edit.

Importing the package loads no torch, since `trainer.contract.stages` looks here for stages that stand in the file of
their algorithm.
"""

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from typing import Any

import trainer.contract  # noqa: F401 - first, since it reads files of this package that need `base` and are needed by none
from trainer.algorithms.base import Algorithm, LossTerms, Update
from trainer.contract.stages.base import TrainingStage


def algorithm_for(stage: TrainingStage) -> Algorithm:
    """The algorithm that runs a stage of this kind; KeyError when no file of this package claims it."""
    return _find_algorithms()[type(stage)](stage)


@cache
def _find_algorithms() -> dict[type[TrainingStage], type[Algorithm]]:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return {algorithm.stage_class: algorithm for algorithm in _concrete(Algorithm)}


def _concrete(cls: Any) -> Iterator[type[Algorithm]]:
    for child in cls.__subclasses__():
        if "stage_class" in vars(child):
            yield child
        yield from _concrete(child)


__all__ = ["Algorithm", "LossTerms", "Update", "algorithm_for"]
