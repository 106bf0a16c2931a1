"""What of a row stays covered."""

from typing import Any

from chanote.checks.masking import Mask


def covers(mask: Mask, content: dict[str, Any]) -> bool:
    """Whether the mask hides anything of the row."""
    return bool(mask) and mask.apply(content) != content
