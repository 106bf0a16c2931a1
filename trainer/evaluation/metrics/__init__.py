"""One file per metric. A new file here with a concrete `Metric` subclass is a new metric: no list to edit."""

import importlib
import pkgutil

from trainer.evaluation.metrics.base import Metric

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


def _named(cls: type[Metric]) -> list[type[Metric]]:
    found = [cls] if "name" in vars(cls) else []
    return found + [leaf for child in cls.__subclasses__() for leaf in _named(child)]


def metrics() -> dict[str, Metric]:
    """Every metric by its name."""
    return {cls.name: cls() for cls in sorted(_named(Metric), key=lambda cls: cls.name)}


__all__ = ["Metric", "metrics"]
