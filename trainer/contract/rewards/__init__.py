"""One file per reward. A new file here with a `RewardBase` subclass that has a `kind` is a new reward: no list to edit.

A stage takes `rewards: RewardList`.
"""

import importlib
import pkgutil
from typing import TYPE_CHECKING, Annotated, Union

from pydantic import AfterValidator, Field

from trainer.contract.rewards.base import (
    AnswerRewardBase,
    CorrectnessRewardBase,
    RewardBase,
    check_links,
    check_longest,
    check_reachable,
)

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


def _concrete(cls: type[RewardBase]) -> list[type[RewardBase]]:
    found = [cls] if "kind" in cls.model_fields else []
    return found + [leaf for child in cls.__subclasses__() for leaf in _concrete(child)]


def reward_kinds() -> dict[str, type[RewardBase]]:
    """Every kind of reward by its name, in alphabetical order."""
    return dict(sorted((str(cls.model_fields["kind"].default), cls) for cls in _concrete(RewardBase)))


if TYPE_CHECKING:
    RewardConfig = RewardBase
    RewardList = list[RewardBase]
else:
    RewardConfig = Annotated[Union[tuple(reward_kinds().values())], Field(discriminator="kind")]  # noqa: UP007
    RewardList = Annotated[list[RewardConfig], AfterValidator(check_links)]

__all__ = [
    "AnswerRewardBase",
    "CorrectnessRewardBase",
    "RewardBase",
    "RewardConfig",
    "RewardList",
    "check_links",
    "check_longest",
    "check_reachable",
    "reward_kinds",
]
