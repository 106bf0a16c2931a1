"""One file per output type. A new file here with a concrete `OutputType` subclass is a new one: no list to edit."""

import importlib
import pkgutil

from trainer.evaluation.outputs.base import OutputType

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


def output_types() -> dict[str, type[OutputType]]:
    """Every output type by its name."""
    return {cls.name: cls for cls in sorted(OutputType.__subclasses__(), key=lambda cls: cls.name)}


__all__ = ["OutputType", "output_types"]
