"""How far a judge agrees with people, and what its scores are worth by that."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chanote.boards.judging.identity import Judging
from chanote.boards.judging.labels import LabelledAnswer, complete_ballots, find_labels, name_preference
from chanote.boards.models import Evaluation
from chanote.boards.scores import ItemScores, read_scores
from chanote.boards.statistics.agreement import FEWEST_LABELS
from chanote.boards.statistics.agreement_interval import Bounded, bound_fleiss, bound_kappa
from chanote.boards.statistics.estimate import estimate_mean
from chanote.boards.statistics.judged import Corrected, correct_rate, predict_with_labels

FEWEST_OF_A_MODEL = 20
"""Labelled conversations or items of a model below which its estimate is not corrected."""


@dataclass(frozen=True)
class Correction:
    """A model's estimate, put right by what people said."""

    method: str
    value: float | None
    low: float | None
    high: float | None
    error: float | None
    labelled: int
    """Answers of the model that people labelled and the judge judged."""


@dataclass(frozen=True)
class Calibration:
    judging: Judging
    labels: int
    """Answers that people labelled and the judge judged."""
    raters: int
    judge: Bounded | None
    """Judge against people: Cohen's κ of preferences, quadratically weighted of grades; None without an answer."""
    people: Bounded | None
    """Fleiss' κ among people; None where fewer than two labelled the same answers."""
    set_aside: int
    """Labelled answers that not as many people labelled as most, and which agreement leaves out."""
    failed: int
    """Labelled answers on which the judge failed, and which agreement leaves out."""
    unlabelled: tuple[str, ...]
    """Models of which no answer is labelled: of them nobody knows whether the judge is as right."""
    corrections: dict[int, Correction]
    """By evaluation."""

    @property
    def is_calibrated(self) -> bool:
        return self.labels >= FEWEST_LABELS


def calibrate(judging: Judging, evaluations: Sequence[Evaluation]) -> Calibration:
    """Of one task's evaluations. Without labels one query, and nothing is corrected."""
    found = find_labels(judging, evaluations)
    judged = [one for one in found if one.judge is not None]
    whole = complete_ballots(found)
    together = [one for one in whole if one.judge is not None]
    scores = read_scores([one.pk for one in evaluations]) if judged else {}
    return Calibration(
        judging=judging,
        labels=len(judged),
        raters=len({rater for one in found for rater in one.labels}),
        judge=_compare_with_people(judging, together),
        people=_compare_people(judging, whole),
        set_aside=len(found) - len(whole),
        failed=len(whole) - len(together),
        unlabelled=tuple(one.model.slug for one in evaluations if one.pk not in {found.evaluation for found in judged}),
        corrections={
            pk: correct_estimate(judging, one, [answer for answer in judged if answer.evaluation == pk])
            for pk, one in scores.items()
        },
    )


def _compare_with_people(judging: Judging, answers: Sequence[LabelledAnswer]) -> Bounded | None:
    if not answers:
        return None
    judge, people = [one.judge or 0.0 for one in answers], [one.people(judging.scale) for one in answers]
    clusters = _clusters(answers)
    if judging.scale == "grade":
        return bound_kappa(judge, people, clusters, weights="quadratic")
    return bound_kappa([_round_preference(value) for value in judge], people, clusters)


def _round_preference(value: float) -> float:
    return {"a": 1.0, "tie": 0.5, "b": 0.0}[name_preference(value)]


def _compare_people(judging: Judging, answers: Sequence[LabelledAnswer]) -> Bounded | None:
    if not answers or len(answers[0].labels) < 2:
        return None
    levels = sorted({value for one in answers for value in one.labels.values()})
    counts: NDArray[np.int64] = np.array(
        [[list(one.labels.values()).count(level) for level in levels] for one in answers], dtype=np.int64
    )
    return bound_fleiss(counts, _clusters(answers))


def _clusters(answers: Sequence[LabelledAnswer]) -> list[tuple[int, str]]:
    """Turns of one conversation are not independent; nor are answers of several models to one item, which are drawn
    together."""
    return [(0, one.cluster or one.item) for one in answers]


def correct_estimate(judging: Judging, scores: ItemScores, answers: Sequence[LabelledAnswer]) -> Correction:
    """By people's labels alone where they cover everything; by Rogan and Gladen where judge and people only say right
    or wrong; else prediction-powered. The unit is the conversation, or the item."""
    labels = {one.item: one.people(judging.scale) for one in answers}
    units: dict[str, list[tuple[float, float | None]]] = {}
    for item, cluster, value, asked in zip(
        scores.items, scores.clusters, scores.values.tolist(), scores.asked.tolist(), strict=True
    ):
        if asked:
            # An answer without a score counts as the lowest, as on the board.
            units.setdefault(cluster or item, []).append((0.0 if np.isnan(value) else value, labels.get(item)))
    known = {key: unit for key, unit in units.items() if any(label is not None for _, label in unit)}
    if len(known) < FEWEST_OF_A_MODEL:
        return Correction(
            f"none: people labelled {len(known)} of the {FEWEST_OF_A_MODEL} items that it takes",
            None, None, None, None, len(answers),
        )  # fmt: skip
    flat = [(judge, label) for unit in units.values() for judge, label in unit]
    alone = len(units) == len(flat)
    if alone and {judge for judge, _ in flat} <= {0.0, 1.0} and set(labels.values()) == {0.0, 1.0}:
        found = _correct_rate(flat)
        if found is not None:
            return _describe("Rogan and Gladen's correction", found, len(answers))
    rest = [_mean([judge for judge, _ in unit]) for key, unit in units.items() if key not in known]
    judged = [_mean([judge for judge, _ in unit]) for unit in known.values()]
    # A conversation of which people labelled one turn stands corrected by that turn.
    gaps = [_mean([label - judge for judge, label in unit if label is not None]) for unit in known.values()]
    people = [mean + gap for mean, gap in zip(judged, gaps, strict=True)]
    if len(rest) >= 2:
        return _describe("prediction-powered", predict_with_labels(rest, judged, people), len(answers))
    alone_mean = estimate_mean(np.array(people))
    return Correction(
        f"people's labels alone, {alone_mean.method}",
        alone_mean.mean, alone_mean.low, alone_mean.high, alone_mean.error, len(answers),
    )  # fmt: skip


def _correct_rate(flat: Sequence[tuple[float, float | None]]) -> Corrected | None:
    """None where the judge is no better than a coin, or never saw one of both kinds."""
    right = [judge for judge, label in flat if label == 1.0]
    wrong = [judge for judge, label in flat if label == 0.0]
    if not right or not wrong:
        return None
    return correct_rate(
        _mean([judge for judge, _ in flat]),
        len(flat),
        sensitivity=_mean(right),
        positives=len(right),
        specificity=1 - _mean(wrong),
        negatives=len(wrong),
    )


def _describe(method: str, found: Corrected, labelled: int) -> Correction:
    return Correction(method, found.value, found.low, found.high, found.error, labelled)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
