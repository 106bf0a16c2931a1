"""Every write about what people say of judged answers."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.db import transaction

from chanote.audit.services import record
from chanote.boards.importing import NotReadable
from chanote.boards.imports import keep_bytes, slugify
from chanote.boards.judging.identity import Judging, identify_judging
from chanote.boards.judging.labels import PREFERENCES, hash_answer
from chanote.boards.judging.models import AnswerLabel, VotesFile
from chanote.boards.judging.votes import Vote, read_votes
from chanote.boards.models import Board, Evaluation, Sample, Task
from chanote.boards.services import BATCH, BoardError
from trainer.contract.judging import HIGHEST, LOWEST

MOST_BYTES = 64 * 2**20
SHOWN_FAULTS = 1000


@transaction.atomic
def import_votes(
    *,
    board: Board,
    task: Task,
    evaluations: Sequence[Evaluation],
    name: str,
    data: bytes,
    model: str = "",
    actor: Any = None,
) -> VotesFile:
    """Make labels of human votes on a judged task of the board, whole or not at all; the same file again changes
    nothing.

    `model`: whose answers the votes are about, where the file does not say and the board has several. A later file
    replaces what the same rater said of the same answer. Raises BoardError with a sentence.
    """
    judging = _require_judging(task)
    if len(data) > MOST_BYTES:
        raise BoardError(f"{name} is larger than {MOST_BYTES // 2**20} MB; split it")
    sha256 = hashlib.sha256(data).hexdigest()
    # Serialises imports onto one board, so that the same file cannot be taken twice at once.
    Board.objects.select_for_update().get(pk=board.pk)
    known = VotesFile.objects.filter(task=task, sha256=sha256).first()
    if known is not None:
        return known
    try:
        found = read_votes(data)
    except NotReadable as error:
        raise BoardError(f"{name} cannot be imported: {error}") from error
    file = VotesFile.objects.create(
        project=board.project,
        task=task,
        sha256=sha256,
        name=Path(name).name[:200],
        bytes=len(data),
        created_by=actor,
    )
    labels, skipped = _make_labels(found.votes, file, judging, evaluations, model)
    if not labels:
        reason = (found.skipped + skipped)[0]
        raise BoardError(f"{name} cannot be imported: no vote is about an answer on this board; the first: {reason}")
    _store(labels)
    file.taken, file.skipped = len(labels), (found.skipped + skipped)[:SHOWN_FAULTS]
    file.save(update_fields=["taken", "skipped"])
    keep_bytes(sha256, data)
    record("votes.imported", file, actor=actor, sha256=sha256, task=task.reference, taken=file.taken)
    return file


def _make_labels(
    votes: Sequence[Vote], file: VotesFile, judging: Judging, evaluations: Sequence[Evaluation], model: str
) -> tuple[list[AnswerLabel], list[str]]:
    by_model = {one.model.slug: one for one in evaluations}
    alone = model or (next(iter(by_model)) if len(by_model) == 1 else "")
    answers: dict[str, dict[str, str]] = {}
    labels: dict[tuple[str, str, str], AnswerLabel] = {}
    skipped = []
    for vote in votes:
        slug, value, fault = _place_vote(vote, judging, by_model, alone)
        if not fault:
            if slug not in answers:
                answers[slug] = _hash_answers(by_model[slug], judging)
            known = answers[slug]
            if vote.item not in known:
                fault = f"{slug} has no answer to item {vote.item[:80]}"
        if fault:
            skipped.append(f"{vote.place}: {fault}")
            continue
        labels[slug, vote.item, vote.rater] = AnswerLabel(
            project=file.project,
            family=judging.family,
            model=by_model[slug].model,
            item=vote.item,
            answer_sha256=known[vote.item],
            rater=vote.rater[:150],
            value=value,
            source=file,
        )
    return list(labels.values()), skipped


def _place_vote(vote: Vote, judging: Judging, by_model: dict[str, Evaluation], alone: str) -> tuple[str, float, str]:
    """Model, value, and why the vote cannot be taken; that is empty when it can."""
    if vote.grades != (judging.scale == "grade"):
        asked = "grades" if judging.scale == "grade" else "preferences"
        return "", 0.0, f"it is a {'grade' if vote.grades else 'preference'}, and the task's judge gives {asked}"
    model, opponent = (slugify(name, 120) if name else "" for name in (vote.model, vote.opponent))
    value = vote.value
    if opponent and opponent != judging.opponent:
        if model != judging.opponent:
            return (
                "",
                0.0,
                f"it is about {vote.model} and {vote.opponent}, and the task's opponent is {judging.opponent}",
            )
        model, value = opponent, 1 - value
    slug = model or alone
    if not slug:
        return "", 0.0, "it names no model, and the board has several; say whose answers the votes are about"
    if slug not in by_model:
        return "", 0.0, f"the board has no answers of {slug}"
    return slug, value, ""


def _hash_answers(evaluation: Evaluation, judging: Judging) -> dict[str, str]:
    """By item; empty hashes where another harness keeps the texts."""
    samples = Sample.objects.filter(evaluation=evaluation).only("item", "prompt", "output", "target")
    return {one.item: hash_answer(one) if judging.ours else "" for one in samples.iterator()}


@transaction.atomic
def label_answer(*, task: Task, sample: Sample, value: float, actor: Any) -> AnswerLabel:
    """What a person says of one answer; the next word of the same person takes its place. Raises BoardError."""
    judging = _require_judging(task)
    allowed = list(PREFERENCES.values()) if judging.scale == "wins" else _GRADES
    if value not in allowed:
        raise BoardError(f"{value:g} is not on the scale of {task.reference}")
    label, new = AnswerLabel.objects.update_or_create(
        project=task.project,
        family=judging.family,
        model=sample.evaluation.model,
        item=sample.item,
        answer_sha256=hash_answer(sample) if judging.ours else "",
        rater=actor.username,
        defaults={"value": value, "person": actor},
    )
    verb = "answer.labelled" if new else "answer.label_changed"
    record(verb, label, actor=actor, project=task.project, task=task.reference, value=value)
    return label


_GRADES = [grade / HIGHEST for grade in range(LOWEST, HIGHEST + 1)]


def _require_judging(task: Task) -> Judging:
    judging = identify_judging(task)
    if judging is None:
        raise BoardError(f"no model judges {task.reference}; people label answers of judged tasks only")
    return judging


def _store(labels: Sequence[AnswerLabel]) -> None:
    AnswerLabel.objects.bulk_create(
        labels,
        batch_size=BATCH,
        update_conflicts=True,
        unique_fields=["project", "family", "model", "item", "answer_sha256", "rater"],
        update_fields=["value", "source"],
    )
