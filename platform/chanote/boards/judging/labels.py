"""Answers with what the judge and people say of them, brought together."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from chanote.boards.judging.identity import Judging
from chanote.boards.judging.models import AnswerLabel
from chanote.boards.models import Evaluation, Sample
from chanote.boards.statistics.agreement import majority_vote

PREFERENCES = {"a": 1.0, "tie": 0.5, "b": 0.0}
"""What a person may prefer, and its value; a is the model, b its opponent."""


@dataclass(frozen=True)
class LabelledAnswer:
    """One answer that people labelled."""

    evaluation: int
    item: str
    cluster: str
    judge: float | None
    """None where the judge failed."""
    labels: dict[str, float]
    """By rater."""

    def people(self, scale: Literal["grade", "wins"]) -> float:
        """What people say together: the mean of grades; of preferences the commonest, several with as many a tie."""
        values = list(self.labels.values())
        if scale == "grade":
            return sum(values) / len(values)
        return PREFERENCES[majority_vote([name_preference(value) for value in values])]


def name_preference(value: float) -> str:
    return "tie" if value == 0.5 else "a" if value > 0.5 else "b"


def hash_answer(sample: Sample) -> str:
    """Of what was asked, answered, and to be beaten."""
    text = "\x00".join((sample.prompt, sample.output, sample.target))
    return hashlib.sha256(text.encode()).hexdigest()


def find_labels(judging: Judging, evaluations: Sequence[Evaluation]) -> list[LabelledAnswer]:
    """Labelled answers of these evaluations, in two queries. A label of another answer to the item is left out."""
    if not evaluations:
        return []
    rows = AnswerLabel.objects.filter(
        project=evaluations[0].project_id, family=judging.family, model__in={one.model_id for one in evaluations}
    ).values_list("model_id", "item", "answer_sha256", "rater", "value")
    by_answer: dict[tuple[int, str, str], dict[str, float]] = {}
    for model, item, sha256, rater, value in rows:
        by_answer.setdefault((model, item, sha256), {})[rater] = value
    if not by_answer:
        return []
    models = {one.pk: one.model_id for one in evaluations}
    samples = Sample.objects.filter(evaluation__in=models, item__in={item for _, item, _ in by_answer}).order_by("id")
    found = []
    for sample in samples.defer("episode", "detail", "tokens"):
        sha256 = hash_answer(sample) if judging.ours else ""
        labels = by_answer.get((models[sample.evaluation_id], sample.item, sha256))
        if labels:
            judge = None if sample.status == "left_out" else sample.score
            found.append(LabelledAnswer(sample.evaluation_id, sample.item, sample.cluster, judge, labels))
    return found


def complete_ballots(found: Iterable[LabelledAnswer]) -> list[LabelledAnswer]:
    """Those that as many people labelled as most answers have: agreement among people needs the same number of each."""
    answers = list(found)
    sizes = [len(one.labels) for one in answers]
    usual = max(set(sizes), key=lambda size: (sizes.count(size), size), default=0)
    return [one for one in answers if len(one.labels) == usual]
