"""Reads for judging: which table, and which answer a person is to label next."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chanote.boards.judging.identity import Judging, identify_judging
from chanote.boards.judging.labels import hash_answer
from chanote.boards.judging.models import AnswerLabel
from chanote.boards.masks import find_mask_of_task, mask_samples
from chanote.boards.models import Board, Evaluation, Sample, Task
from chanote.boards.selectors import latest_evaluations


@dataclass(frozen=True)
class JudgedTask:
    """One judged task of a board."""

    board: Board
    task: Task
    judging: Judging
    evaluations: list[Evaluation]
    others: dict[Task, list[Evaluation]]
    """All other tasks of the board."""

    @property
    def family(self) -> dict[Task, list[Evaluation]]:
        """Of the others those that ask the same."""
        found = {}
        for task, evaluations in self.others.items():
            judging = identify_judging(task)
            if judging is not None and judging.family == self.judging.family:
                found[task] = evaluations
        return found


def find_judged_tasks(board: Board) -> list[JudgedTask]:
    """Judged tasks of the board, in its order."""
    tables = latest_evaluations(board)
    return [
        JudgedTask(board, task, judging, found, {other: rows for other, rows in tables.items() if other != task})
        for task, found in tables.items()
        if (judging := identify_judging(task)) is not None
    ]


def choose_task(found: Sequence[JudgedTask], reference: str) -> JudgedTask | None:
    """The one that is named; the first where none is; None where there is none of that name."""
    if not reference:
        return found[0] if found else None
    return next((one for one in found if one.task.reference == reference), None)


@dataclass(frozen=True)
class ToLabel:
    """An answer for a person to label, without model and judgement, personal data masked."""

    sample: Sample
    turned: bool
    """The opponent's answer stands first."""
    labelled: int
    """Answers that this person has labelled."""
    answers: int

    @property
    def sides(self) -> tuple[str, str]:
        ours, theirs = self.sample.output, self.sample.target
        return (theirs, ours) if self.turned else (ours, theirs)


def find_next_to_label(one: JudgedTask, person: Any) -> ToLabel | None:
    """The first answer that this person has not labelled, in an order drawn by hash: people who stop early have
    labelled a random part, which is what the corrections take for granted. None when everything is labelled."""
    if not can_be_labelled(one):
        return None
    models = {evaluation.pk: evaluation.model_id for evaluation in one.evaluations}
    judged = Sample.objects.filter(evaluation__in=models, score__isnull=False).exclude(status="left_out")
    rows = judged.exclude(output="").values_list("pk", "evaluation_id", "item")
    drawn = sorted(rows, key=lambda row: _draw(models[row[1]], row[2]))
    labels = AnswerLabel.objects.filter(
        project=one.board.project_id, family=one.judging.family, rater=person.username, model__in=models.values()
    )
    said = set(labels.values_list("model_id", "item", "answer_sha256"))
    seen = judged.filter(item__in={item for _, item, _ in said}).only(
        "evaluation_id", "item", "prompt", "output", "target"
    )
    done = {
        sample.pk
        for sample in seen.iterator()
        if (models[sample.evaluation_id], sample.item, hash_answer(sample) if one.judging.ours else "") in said
    }
    open_ = next((pk for pk, _, _ in drawn if pk not in done), None)
    if open_ is None:
        return None
    chosen = Sample.objects.select_related("evaluation__model").filter(pk=open_)
    (sample,) = mask_samples(chosen, find_mask_of_task(one.task))
    return ToLabel(sample, one.judging.scale == "wins" and _is_turned(sample), len(done), len(drawn))


def can_be_labelled(one: JudgedTask) -> bool:
    """Answers of other harnesses are here only where their files have them; MT-Bench's have the judge's words."""
    format_ = (one.task.definition.get("imported") or {}).get("format", "")
    if format_ in ("mt_bench", "mt_bench_pairs"):
        return False
    return Sample.objects.filter(evaluation__in=one.evaluations).exclude(output="").exists()


def _draw(model: int, item: str) -> str:
    return hashlib.sha256(f"{model} {item}".encode()).hexdigest()


def _is_turned(sample: Sample) -> bool:
    return hashlib.sha256(f"turn {sample.pk}".encode()).digest()[0] % 2 == 1
