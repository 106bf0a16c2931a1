"""One file per algorithm. A new file here with an `Algorithm` that has a `stage_class` is found: no list to edit."""

import importlib
import pkgutil
from collections.abc import Iterator

from trainer.algorithms.base import Algorithm, LossTerms, Update
from trainer.contract.stages.base import TrainingStage

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


def _concrete(cls: type[Algorithm]) -> Iterator[type[Algorithm]]:
    for child in cls.__subclasses__():
        if "stage_class" in vars(child):
            yield child
        yield from _concrete(child)


_ALGORITHMS = {algorithm.stage_class: algorithm for algorithm in _concrete(Algorithm)}


def algorithm_for(stage: TrainingStage) -> Algorithm:
    """The algorithm that runs a stage of this kind; KeyError when no file of this package claims it."""
    return _ALGORITHMS[type(stage)](stage)


__all__ = ["Algorithm", "LossTerms", "Update", "algorithm_for"]
