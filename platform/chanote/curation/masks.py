"""What of a version's rows stays covered: what a check has found in it or in what it was made of."""

from typing import Any

from chanote.checks.masking import Mask, find_mask
from chanote.checks.personal.patterns import KINDS
from chanote.datasets.models import DatasetVersion


def find_masks(version: DatasetVersion) -> Mask:
    """The mask of the version and of those it comes from: a new version is not bare until its own check has run."""
    kin = [version, *version.drawn_from.all()]
    if version.parent_id and version.parent not in kin:
        kin.append(version.parent)  # type: ignore[arg-type]
    masks = [find_mask(one) for one in kin]
    kinds = {kind for mask in masks for kind in mask.kinds}
    return Mask(tuple(kind for kind in KINDS if kind in kinds), frozenset(name for one in masks for name in one.names))


def covers(mask: Mask, content: dict[str, Any]) -> bool:
    """Whether the mask hides anything of the row."""
    return bool(mask) and mask.apply(content) != content
