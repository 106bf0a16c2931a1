"""Saying before anything is sampled that a reward cannot work."""

from collections.abc import Iterable, Sequence

from trainer.rewards.base import Reward, Row


def check_rows(rewards: Sequence[Reward], rows: Iterable[Row], *, path: str, dataset: str) -> list[str]:
    """One sentence for each reward that some row makes impossible, in one pass over the rows.

    `path` is the field of the list of rewards, as in `recipe.stages[0].rewards`.
    """
    count, wrong, first = 0, [0] * len(rewards), [""] * len(rewards)
    for number, row in enumerate(rows, start=1):
        count = number
        for place, reward in enumerate(rewards):
            if reason := reward.missing(row):
                wrong[place] += 1
                first[place] = first[place] or f"row {number} has {reason}"
    return [
        f"{path}[{place}] ({reward.config.component}): {wrong[place]} of {count} rows of {dataset} give it nothing to "
        f"compare with ({first[place]}); complete or remove those rows, or choose another reward."
        for place, reward in enumerate(rewards)
        if wrong[place]
    ]
