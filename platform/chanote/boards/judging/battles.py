"""Win rates with lengths made equal, and strengths from all pairs that one judge has compared on a board."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from chanote.boards.judging.identity import Judging, identify_judging
from chanote.boards.judging.labels import PREFERENCES, name_preference
from chanote.boards.models import Evaluation, Sample, Task
from chanote.boards.scores import read_scores
from chanote.boards.statistics.bradley_terry import Battle, Ladder, rate_battles
from chanote.boards.statistics.length_control import LengthControlled, control_length

FEWEST_PROMPTS = 20
"""Below so many no interval of a bootstrap is right."""


@dataclass(frozen=True)
class Lengths:
    """A model's win rate as it is and with lengths made equal."""

    found: LengthControlled | None
    fault: str
    """Why there is none; empty when there is."""
    longer: float | None = None
    """Mean length of its answers over that of the opponent's, in characters."""


def control_lengths(evaluations: Sequence[Evaluation]) -> dict[int, Lengths]:
    """By evaluation. Answers without a verdict are left out."""
    rows: dict[int, list[tuple[float, int, int]]] = {one.pk: [] for one in evaluations}
    samples = Sample.objects.filter(evaluation__in=rows, score__isnull=False).exclude(status="left_out")
    for pk, score, output, target in samples.values_list("evaluation_id", "score", "output", "target").iterator():
        rows[pk].append((score or 0.0, len(output), len(target)))
    return {pk: _control(found) for pk, found in rows.items()}


def _control(rows: Sequence[tuple[float, int, int]]) -> Lengths:
    if not any(ours for _, ours, _ in rows) or not any(theirs for _, _, theirs in rows):
        return Lengths(None, "The file that was imported holds no answers, so nobody knows how long they are.")
    if len(rows) < FEWEST_PROMPTS:
        return Lengths(None, f"{len(rows)} answers are judged; it takes {FEWEST_PROMPTS}.")
    table = np.array(rows, dtype=np.float64)
    found = control_length(table[:, 0], table[:, 1], table[:, 2])
    return Lengths(found, "", float(table[:, 1].mean() / max(1.0, table[:, 2].mean())))


@dataclass(frozen=True)
class Tournament:
    ladder: Ladder | None
    fault: str
    battles: int = 0
    prompts: int = 0
    tasks: tuple[Task, ...] = ()


def hold_tournament(judging: Judging, tasks: Mapping[Task, Sequence[Evaluation]]) -> Tournament | None:
    """Strengths of all models that this judge, with these words, has compared on the board; None of grades."""
    if judging.scale != "wins":
        return None
    chosen: dict[Task, tuple[Judging, Sequence[Evaluation]]] = {}
    for task, found in tasks.items():
        there = identify_judging(task)
        if there is not None and there.scale == "wins" and there.identity == judging.identity and there.opponent:
            chosen[task] = (there, found)
    scores = read_scores([one.pk for _, found in chosen.values() for one in found])
    battles = []
    for there, found in chosen.values():
        for one in found:
            sheet = scores[one.pk]
            if one.model.slug == there.opponent:
                continue
            for item, cluster, value, asked in zip(
                sheet.items, sheet.clusters, sheet.values.tolist(), sheet.asked.tolist(), strict=True
            ):
                if asked and not np.isnan(value):
                    outcome = PREFERENCES[name_preference(value)]
                    battles.append(Battle(cluster or item, one.model.slug, there.opponent, outcome))
    prompts = len({one.prompt for one in battles})
    if prompts < FEWEST_PROMPTS:
        return Tournament(None, f"{prompts} prompts are judged; it takes {FEWEST_PROMPTS}.", len(battles), prompts)
    try:
        ladder = rate_battles(battles)
    except ValueError as error:
        return Tournament(None, f"{error}", len(battles), prompts, tuple(chosen))
    return Tournament(ladder, "", len(battles), prompts, tuple(chosen))
