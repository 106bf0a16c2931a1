"""Rollouts of one prompt against each other."""

from collections.abc import Sequence

from trainer.rollouts.rollout import Rollout


def rank_group(group: Sequence[Rollout]) -> list[Rollout]:
    """Those with a value that are not masked, from the highest reward to the lowest; equals keep their order."""
    valued = [rollout for rollout in group if rollout.reward is not None and not rollout.masked]
    return sorted(valued, key=lambda rollout: -(rollout.reward or 0.0))
