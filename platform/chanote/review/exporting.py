"""Labels as a dataset version: `chat` rows with the labels beside the conversation, or `preferences` between answers.

Rights are those that every dataset allows whose rows stand in the conversations. A chat row with any other label than
good is evidence, not an example: such a version may not be trained on, whatever its sources allow.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from django.db import transaction

from chanote.accounts.models import Project
from chanote.accounts.roles import require
from chanote.audit.services import record
from chanote.datasets.errors import refuse
from chanote.datasets.making import make_version
from chanote.datasets.models import Dataset, DatasetVersion, Kind, Use
from chanote.models.teachers import inherit_licence
from chanote.review.conversations import Unspoken, read_conversation, read_prompt, read_turns
from chanote.review.models import Label, LabelExport, LabelKind
from chanote.review.rights import Sources
from chanote.runs.lineage import ancestors_of
from chanote.runs.models import RolloutFile, Run
from chanote.runs.rollout_files import StoredRollouts
from trainer.contract.rollouts import StoredRollout

KINDS = (Kind.CHAT, Kind.PREFERENCES)
WORSE = frozenset({LabelKind.WRONG, LabelKind.HACKED, LabelKind.MISUSED})
MOST_PAIRS = 8
"""Of one prompt, so that a prompt with many labels does not outweigh the others."""
MOST_TOLD = 20
Row = dict[str, Any]


@dataclass
class Labelled:
    """A rollout with everything that people said of it."""

    run: Run
    attempt: int
    step: int
    group: int
    index: int
    labels: list[Label] = field(default_factory=list)

    @property
    def agreed(self) -> str | None:
        """The label when all people gave the same."""
        given = {one.label for one in self.labels}
        return given.pop() if len(given) == 1 else None

    def __str__(self) -> str:
        return f"run {self.run.number} step {self.step} rollout {self.group}.{self.index}"


def export_labels(
    *,
    project: Project,
    slug: str,
    kind: str = Kind.CHAT,
    labels: Sequence[str] = (LabelKind.GOOD,),
    runs: Sequence[int] = (),
    reason: str = "",
    actor: Any,
) -> LabelExport:
    """Make the next version of a dataset of labels. `runs` are numbers; none means every run of the project.

    For `preferences`, `labels` is not asked: good answers are preferred to wrong, reward hacked and tool misused ones.
    Equal rows and rights make no new version. Raises ImportRefused with every problem, PermissionDenied.
    """
    require(actor, "datasets.change", project)
    existing = Dataset.objects.filter(project=project, slug=slug).first()
    if kind not in KINDS:
        raise refuse("kind", f"Labels become {' or '.join(KINDS)} rows, not {kind[:40]!r}.")
    if unknown := [one for one in labels if one not in LabelKind.values]:
        raise refuse("labels", f"The label {unknown[0][:40]!r} is not known; use {', '.join(LabelKind.values)}.")
    if existing and not LabelExport.objects.filter(version__dataset=existing).exists():
        raise refuse("slug", f"The dataset {slug} was not made of labels, and its rows stay; choose another name.")
    wanted = gather(project, runs, {*WORSE, LabelKind.GOOD} if kind == Kind.PREFERENCES else set(labels))
    if not wanted:
        raise refuse("labels", "No rollout has such a label yet; label some first, or choose other labels.")
    sources = Sources(project)
    left_out: list[str] = []
    found = list(_read_rollouts(wanted, left_out))
    make = make_pairs if kind == Kind.PREFERENCES else make_chats
    rows = make(found, sources, left_out)
    if not rows:
        why = f" {left_out[0]}" if left_out else ""
        if kind == Kind.PREFERENCES:
            why = why or " A pair needs a prompt with an answer labelled good and another labelled worse."
        raise refuse("labels", f"No row can be made of these labels.{why}")
    uses = sources.uses
    if kind == Kind.CHAT and any(row["label"] != LabelKind.GOOD for row in rows):
        uses = [use for use in uses if use not in (Use.TRAIN, Use.DISTIL)]
    counted = [one for one, _ in found]
    version = make_version(
        project=project,
        slug=slug,
        kind=kind,
        rows=((_leave_out_halves(row), sources.source_of(row)) for row in rows),
        drawn_from=sources.versions,
        operation={
            "name": "labels",
            "kind": kind,
            "labels": sorted(labels) if kind == Kind.CHAT else [],
            "runs": sorted({one.run.number for one in counted}),
            "read": sorted(sources.read),
        },
        title="" if existing else "Labels of rollouts",
        licence=sources.licence,
        uses=uses,
        source=tell_source(counted, sources),
        reason=reason or f"{len(rows):,} rows of the labels of {len(counted):,} rollouts",
        actor=actor,
    )
    return _note_export(project, version, counted, left_out, actor)


def _leave_out_halves(row: Row) -> Row:
    """The row without halves of characters that a cut may leave, which no file can hold."""
    return dict(json.loads(json.dumps(row, ensure_ascii=False).encode("utf-8", "replace")))


@transaction.atomic
def _note_export(
    project: Project, version: DatasetVersion, found: Sequence[Labelled], left_out: list[str], actor: Any
) -> LabelExport:
    told = left_out[:MOST_TOLD]
    if len(left_out) > MOST_TOLD:
        told.append(f"… and {len(left_out) - MOST_TOLD:,} more.")
    count = sum(len(one.labels) for one in found)
    export, created = LabelExport.objects.get_or_create(
        version=version, defaults={"project": project, "labels": count, "left_out": told, "created_by": actor}
    )
    # The one at hand knows whether it was made just now.
    export.version = version
    if created:
        record("labels.exported", version, actor=actor, labels=count, runs=sorted({one.run.number for one in found}))
    return export


def gather(project: Project, runs: Sequence[int], labels: set[str]) -> list[Labelled]:
    """Rollouts that somebody gave one of these labels, with all their labels, in order of run, step and place."""
    given = Label.objects.filter(run__project=project).select_related("run__project", "run__base")
    if runs:
        given = given.filter(run__number__in=runs)
    found: dict[tuple[int, ...], Labelled] = {}
    for label in given.order_by("run__number", "attempt", "step", "group", "index", "pk"):
        place = (label.attempt, label.step, label.group, label.index)
        one = found.setdefault((label.run.number, *place), Labelled(label.run, *place))
        one.labels.append(label)
    return [one for one in found.values() if any(label.label in labels for label in one.labels)]


def _read_rollouts(wanted: Sequence[Labelled], left_out: list[str]) -> Iterable[tuple[Labelled, StoredRollout]]:
    """Each with what its file holds, every file read once; what is gone is told in `left_out`."""
    files: dict[tuple[Any, int, int], list[Labelled]] = defaultdict(list)
    for one in wanted:
        files[one.run.pk, one.attempt, one.step].append(one)
    for (run, attempt, step), here in files.items():
        file = RolloutFile.objects.filter(attempt__run=run, attempt__number=attempt, step=step).first()
        missing = {(one.group, one.index): one for one in here}
        rollouts = StoredRollouts(RolloutFile.objects.select_related("attempt").get(pk=file.pk)) if file else None
        for rollout in rollouts or ():
            place = (rollout.group, rollout.index)
            if place in missing:
                yield missing.pop(place), rollout
            if not missing:
                break
        fault = rollouts.fault if rollouts else "Its step stored no rollouts."
        left_out += [f"{one} cannot be read any more. {fault}".strip() for one in missing.values()]


def make_chats(found: Sequence[tuple[Labelled, StoredRollout]], sources: Sources, left_out: list[str]) -> list[Row]:
    """A conversation for each rollout; `label` is null where people disagree."""
    rows = []
    for one, rollout in found:
        try:
            messages = read_conversation(rollout, sources.find(one.run, rollout))
        except Unspoken as unspoken:
            left_out.append(f"{one} {unspoken}.")
            continue
        rows.append({"messages": messages, "label": one.agreed, **describe(one, rollout)})
    return rows


def make_pairs(found: Sequence[tuple[Labelled, StoredRollout]], sources: Sources, left_out: list[str]) -> list[Row]:
    """Answers to one prompt, those that all call good preferred to those that all call worse. Only answers without
    tools: what follows a tool's answer is no answer to the prompt alone."""
    prompts: dict[str, list[tuple[Labelled, StoredRollout, list[Any], str]]] = defaultdict(list)
    for one, rollout in found:
        if rollout.turns and len(rollout.turns) > 1:
            left_out.append(f"{one} called tools, so its answer does not follow its prompt alone.")
            continue
        if one.agreed is None:
            left_out.append(f"{one} is judged differently by several people.")
            continue
        try:
            messages = read_prompt(rollout, sources.find(one.run, rollout))
            answer = str(read_turns(rollout)[0]["content"])
        except Unspoken as unspoken:
            left_out.append(f"{one} {unspoken}.")
            continue
        prompts[json.dumps(messages, sort_keys=True)].append((one, rollout, messages, answer))
    rows = []
    for answers in prompts.values():
        good = [each for each in answers if each[0].agreed == LabelKind.GOOD]
        worse = [each for each in answers if each[0].agreed in WORSE]
        pairs = [(better, poorer) for better, poorer in product(good, worse) if better[3] != poorer[3]]
        for better, poorer in pairs[:MOST_PAIRS]:
            row = {"messages": better[2], "chosen": better[3], "rejected": poorer[3]}
            rows.append(row | {"chosen_from": describe(*better[:2]), "rejected_from": describe(*poorer[:2])})
    return rows


def describe(one: Labelled, rollout: StoredRollout) -> Row:
    """Where a row comes from and who said what of it."""
    return {
        "labels": [
            {"label": label.label, "note": label.note, "by": label.author_name, "at": label.changed.isoformat()}
            for label in one.labels
        ],
        "rollout": {
            "run": one.run.number,
            "run_id": str(one.run.pk),
            "attempt": one.attempt,
            "step": one.step,
            "group": one.group,
            "index": one.index,
            "row": rollout.row,
            "policy": name_policy(one.run, one.attempt, one.step),
        },
        # By way of JSON, which has null for what is no finite number.
        **json.loads(rollout.model_dump_json(include={"reward", "rewards"})),
    }


def name_policy(run: Run, attempt: int, step: int) -> str:
    """The newest checkpoint before the step, from which the weights that sampled came; else what the run began with."""
    own = run.attempts.filter(number=attempt).select_related("resume_from__attempt").first()
    line = [(own, step - 1), *reversed(ancestors_of(own))] if own else []
    for one, last_step in line:
        if checkpoint := one.checkpoints.filter(step__lte=last_step, step__lt=step).order_by("step").last():
            return f"after the checkpoint of step {checkpoint.step}, sha256 {checkpoint.sha256}"
    return f"after {run.base.slug}, sha256 {run.base.sha256}" if run.base else "after random weights"


def tell_source(found: Sequence[Labelled], sources: Sources) -> str:
    """Run, policy and people, one line each run."""
    lines = []
    runs = {one.run.number: one.run for one in found}
    for number, run in runs.items():
        own = [one for one in found if one.run.number == number]
        steps = sorted({one.step for one in own})
        policies = list(dict.fromkeys(name_policy(run, one.attempt, one.step) for one in own))
        people = sorted({label.author_name for one in own for label in one.labels})
        span = f"step {steps[0]}" if len(steps) == 1 else f"steps {steps[0]} to {steps[-1]}"
        terms = inherit_licence(run, last_stage=len(run.snapshot.get("recipe", {}).get("stages", [])))
        lines.append(
            f"Rollouts of run {number} ({run.name}, {run.pk}), {span}, sampled {'; '.join(policies[:10])}"
            f"{f' and {len(policies) - 10} more' if len(policies) > 10 else ''}"
            f"{f'; terms of its models: {terms}' if terms else ''}. Labelled by {', '.join(people)}."
        )
    lines.append(f"Prompts and tool answers from {', '.join(sources.names)}.")
    return "\n".join(lines)
