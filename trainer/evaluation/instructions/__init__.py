"""Checkers of verifiable instructions (IFEval, Zhou et al. 2023, arXiv:2311.07911), one file for each group.

Written from the published description. A new file here whose functions are marked with `checker` adds checkers: no list
to edit.
"""

import importlib
import pkgutil

from trainer.evaluation.instructions.base import CHECKERS, Checker, Wish, checker

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["CHECKERS", "Checker", "Wish", "checker"]
