"""The checks, one file each: a file here is found by itself."""

import importlib
import pkgutil

from chanote.checks.base import CHECKS as _CHECKS

for _module in sorted(module.name for module in pkgutil.iter_modules(__path__)):
    importlib.import_module(f"{__name__}.{_module}")

ORDER = ("schema", "languages", "personal", "duplicates", "overlap", "toxicity", "lengths", "licences")
"""In which they are shown; a check that is not named comes after these."""
CHECKS = dict(
    sorted(_CHECKS.items(), key=lambda pair: (ORDER.index(pair[0]) if pair[0] in ORDER else len(ORDER), pair[0]))
)

__all__ = ["CHECKS"]
