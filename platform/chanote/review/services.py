"""Every write about labels."""

from typing import Any

from django.db import transaction

from chanote.accounts.roles import require
from chanote.audit.services import record
from chanote.review.models import LONGEST_NOTE, Label, LabelKind
from chanote.runs.lineage import find_rollout_files
from chanote.runs.models import RolloutFile, Run
from chanote.runs.rollout_files import read_group
from chanote.web.problems import Problem

MOST = 2**31 - 1


class LabelRefused(ValueError):
    """Nothing was labelled; `problems` says why, by field."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = list(problems)
        super().__init__(" ".join(problem.message for problem in problems))


def set_label(*, run: Run, step: int, group: int, index: int, label: str, note: str = "", actor: Any) -> Label:
    """The actor's word on a rollout, in place of what they said of it before.

    Raises LabelRefused, and PermissionDenied for who may not. The label that comes back has `is_new`.
    """
    require(actor, "rollouts.label", run.project)
    note = note.strip()
    problems = []
    if label not in LabelKind.values:
        problems.append(Problem("label", f"The label {label[:40]!r} is not known; use {', '.join(LabelKind.values)}."))
    if len(note) > LONGEST_NOTE:
        problems.append(Problem("note", f"The note has {len(note):,} characters; {LONGEST_NOTE:,} fit. Shorten it."))
    if "\0" in note:
        problems.append(Problem("note", "The note holds a NUL character, which is no text; remove it."))
    if problems:
        raise LabelRefused(*problems)
    file = find_stored(run, step=step, group=group, index=index)
    with transaction.atomic():
        # Two words of one person at once follow each other, so that the log tells which took whose place.
        Run.objects.select_for_update().get(pk=run.pk)
        place = {"run": run, "attempt": file.attempt.number, "step": step, "group": group, "index": index}
        old = Label.objects.filter(**place, author=actor).first()
        if old is not None and (old.label, old.note) == (label, note):
            return old
        said: dict[str, Any] = {"label": label, "note": note}
        if old is None:
            new = Label.objects.create(**place, **said, author=actor, author_name=actor.username)
            new.is_new = True
            record("rollout.labelled", new, actor=actor, **said)
            return new
        before: dict[str, Any] = {"label_before": old.label, "note_before": old.note}
        old.label, old.note = label, note
        old.save(update_fields=["label", "note", "changed"])
        record("rollout.label_changed", old, actor=actor, **said, **before)
        return old


@transaction.atomic
def withdraw_label(label: Label, *, actor: Any) -> None:
    """Take back one's own label. Raises PermissionDenied for somebody else's."""
    require(actor, "rollouts.label", label.project)
    if label.author_id != actor.pk:
        raise LabelRefused(
            Problem(
                "", f"This label is {label.author_name}'s. Give one of your own beside it; only they can change it."
            )
        )
    record("rollout.label_withdrawn", label, actor=actor, label=label.label, note=label.note)
    label.delete()


def find_stored(run: Run, *, step: int, group: int, index: int) -> RolloutFile:
    """The file that holds a rollout of the run. Raises LabelRefused with the reason when there is none."""
    file = find_rollout_files(run).filter(step=step).first() if 0 <= step <= MOST else None
    if file is None:
        raise LabelRefused(Problem("step", f"Step {step} of {run.name} stored no rollouts; choose one that did."))
    found, fault = read_group(file, group)
    if not any(one.index == index for one in found):
        why = f" {fault}" if fault else ""
        raise LabelRefused(Problem("index", f"Step {step:,} of {run.name} has no rollout {group}.{index}.{why}"))
    return file
