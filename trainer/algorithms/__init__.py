"""One file per algorithm. A new file here with an `Algorithm` subclass is a new algorithm: no list to edit."""

import importlib
import pkgutil

from trainer.algorithms.base import Algorithm, LossTerms
from trainer.contract.stages.base import TrainingStage

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

_ALGORITHMS = {algorithm.stage_class: algorithm for algorithm in Algorithm.__subclasses__()}


def algorithm_for(stage: TrainingStage) -> Algorithm:
    """The algorithm that runs a stage of this kind; KeyError when no file of this package claims it."""
    return _ALGORITHMS[type(stage)](stage)


__all__ = ["Algorithm", "LossTerms", "algorithm_for"]
