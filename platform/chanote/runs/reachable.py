"""Whether the services that a recipe needs while it runs answer now: judges of rewards."""

from collections.abc import Iterator

from chanote.web.problems import Problem
from trainer.contract import Recipe
from trainer.contract.rewards import check_reachable


def find_unreachable(recipe: Recipe) -> list[Problem]:
    """What cannot be reached, with its field. Asks over the network and may take seconds: for a launch, not a page."""
    return list(_ask(recipe))


def _ask(recipe: Recipe) -> Iterator[Problem]:
    for number, stage in enumerate(recipe.stages):
        for sentence in check_reachable(getattr(stage, "rewards", [])):
            field, _, reason = sentence.partition(": ")
            yield Problem(f"stages[{number}].{field}", reason)
