"""One file per reward. A new file here with a `Reward` subclass that has a `config_class` is a new reward.

Nothing here imports torch: rewards judge text.
"""

import importlib
import pkgutil
from collections.abc import Callable, Sequence

from trainer.contract.rewards import RewardBase
from trainer.rewards.base import Answer, Reward, Score
from trainer.rewards.check import check_rows
from trainer.rewards.compose import Scored, score_all, summarise

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


def _concrete(classes: Sequence[type[Reward]]) -> list[type[Reward]]:
    found = [cls for cls in classes if "config_class" in vars(cls)]
    return found + [leaf for cls in classes for leaf in _concrete(cls.__subclasses__())]


_REWARDS = {reward.config_class: reward for reward in _concrete(Reward.__subclasses__())}


def make_rewards(configs: Sequence[RewardBase], *, leave_if_asked: Callable[[], None] | None = None) -> list[Reward]:
    """The rewards of a stage, in its order; KeyError when no file of this package claims a kind.

    `leave_if_asked` is called by rewards that wait, and raises StopNow when a stop was asked for.
    """
    rewards = [_REWARDS[type(config)](config) for config in configs]
    if leave_if_asked:
        for reward in rewards:
            reward.leave_if_asked = leave_if_asked
    return rewards


def reward_notes(rewards: Sequence[Reward]) -> dict[str, str | int | float | bool]:
    """Facts to freeze with a stage: what each reward notes, under its name."""
    return {
        f"reward/{reward.config.component}/{key}": note for reward in rewards for key, note in reward.notes().items()
    }


__all__ = [
    "Answer",
    "Reward",
    "Score",
    "Scored",
    "check_rows",
    "make_rewards",
    "reward_notes",
    "score_all",
    "summarise",
]
