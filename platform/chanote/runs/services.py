"""Every write about runs. Each refuses with one sentence when the state of the run forbids what is asked."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Max
from django.utils import timezone
from pydantic import ValidationError

from chanote.accounts.models import Project
from chanote.accounts.roles import require
from chanote.audit.services import record
from chanote.models.models import Model
from chanote.recipes.models import Revision
from chanote.rights.launching import describe_exceptions, judge_recipe, judge_snapshot
from chanote.runs.freezing import LaunchRefused, find_obstacles, freeze_again, freeze_recipe
from chanote.runs.launching import announce
from chanote.runs.leases import lock_queue
from chanote.runs.models import Attempt, Checkpoint, Run, State
from chanote.runs.queue import next_priority
from chanote.runs.reachable import find_unreachable
from chanote.tools.freezing import find_toolset_changes, freeze_toolset
from chanote.web.problems import Problem, list_pydantic_problems
from trainer.contract import Recipe
from trainer.contract.stages.base import TrainingStage
from trainer.contract.toolsets import ToolsetSpec

__all__ = [
    "LaunchRefused",
    "RunRefused",
    "cancel_run",
    "explain_refusal",
    "launch_run",
    "move_run",
    "reproduce_run",
    "resume_run",
    "retry_run",
    "stop_run",
]


class RunRefused(ValueError):
    """The state of the run forbids what was asked; one sentence that says why and what to do."""


def launch_run(*, revision: Revision, owner: Any, name: str = "", seed: int | None = None, notes: str = "") -> Run:
    """Freeze the revision, and queue a run of it. Raises LaunchRefused with every obstacle found."""
    project = revision.project
    _permit(owner, "runs.launch", project)
    recipe = Recipe.model_validate(revision.resolved)
    if seed is not None:
        recipe = Recipe.model_validate({**recipe.model_dump(), "seed": seed})
    if obstacles := find_obstacles(project, recipe) or find_unreachable(recipe, project):
        raise LaunchRefused(obstacles)
    toolset, refused = freeze_toolset(project, recipe.toolset)
    if refused:
        raise LaunchRefused(refused)
    return _queue_run(revision, recipe, owner=owner, name=name, notes=notes, toolset=toolset)


def reproduce_run(run: Run, *, owner: Any) -> Run:
    """Queue a run of the same frozen spec: versions, hashes, tasks and seed of then, code of today.

    Raises RunRefused while the run goes on or has told nothing to compare with, and LaunchRefused with everything
    that is not there as it was.
    """
    project = run.project
    _permit(owner, "runs.launch", project)
    _refuse_active(run, "reproduced")
    if not run.series.exists():
        raise RunRefused(f"{run.name} has no metrics to compare with; launch its recipe again instead.")
    try:
        recipe = Recipe.model_validate(run.snapshot["recipe"])
        snapshot, changes = freeze_again(project, run.snapshot)
    except ValidationError as error:
        raise LaunchRefused(
            [
                Problem(f"recipe.{one.field}" if one.field else "recipe", one.message)
                for one in list_pydantic_problems(error)
            ]
        ) from error
    if obstacles := [*find_obstacles(project, recipe), *changes] or find_unreachable(recipe, project):
        raise LaunchRefused(obstacles)
    if changed := find_toolset_changes(project, run.snapshot):
        raise LaunchRefused(changed)
    return _queue_run(
        run.revision,
        recipe,
        owner=owner,
        name=f"{run.name}-again"[:120],
        notes=f"Reproduces run {run.number}.",
        # Boards leave its scores out: the same checkpoint twice would be compared with itself.
        snapshot={**snapshot, "reproduces": {"run": str(run.pk), "number": run.number}},
    )


def _queue_run(
    revision: Revision,
    recipe: Recipe,
    *,
    owner: Any,
    name: str,
    notes: str,
    toolset: ToolsetSpec | None = None,
    snapshot: dict[str, Any] | None = None,
) -> Run:
    """Write the run with its first attempt. Without a snapshot the recipe is frozen as the project stands now."""
    project = revision.project
    with transaction.atomic():
        lock_queue()
        Project.objects.select_for_update().get(pk=project.pk)
        run = Run(
            project=project,
            number=(Run.objects.filter(project=project).aggregate(last=Max("number"))["last"] or 0) + 1,
            revision=revision,
            base=Model.objects.filter(project=project, slug=recipe.base).first() if recipe.base else None,
            seed=recipe.seed,
            priority=next_priority(),
            total_steps=sum(stage.steps or 0 for stage in recipe.stages if isinstance(stage, TrainingStage)),
            owner=owner,
            notes=notes,
        )
        run.name = name.strip() or f"{revision.recipe.slug}-{run.number}"
        # Once more under the lock that a withdrawal takes too, so that none slips in between.
        judgement = judge_recipe(project, recipe)
        if judgement.refusals:
            raise LaunchRefused(list(judgement.refusals))
        snapshot = snapshot or freeze_recipe(project, recipe, toolset)
        revision_facts = {"recipe": revision.recipe.slug, "number": revision.number, "sha256": revision.sha256}
        run.snapshot = {**snapshot, "run": str(run.pk), "revision": revision_facts}
        if judgement.exceptions:
            run.snapshot["exceptions"] = describe_exceptions(judgement.exceptions)
        run.full_clean(exclude=["snapshot"])
        run.save(force_insert=True)
        _queue_attempt(run, resume_from=None)
        by: dict[str, Any] = {"exceptions": [one.pk for one in judgement.exceptions]} if judgement.exceptions else {}
        record("run.launched", run, actor=owner, revision=str(revision), seed=run.seed, **by)
    return run


@transaction.atomic
def stop_run(run: Run, *, actor: Any = None) -> None:
    """Ask the trainer to save a checkpoint and leave; the run can be resumed."""
    _permit(actor, "runs.launch", run.project)
    run, attempt = _lock(run)
    if run.state == State.QUEUED:
        raise RunRefused(f"{run.name} waits in the queue and has nothing to stop; cancel it instead.")
    if run.state == State.STOPPING:
        raise RunRefused(f"{run.name} is stopping already; wait for its checkpoint, or cancel it.")
    _refuse_ended(run, "stopped")
    _set_state(run, attempt, State.STOPPING, stop_requested=timezone.now())
    record("run.stop_requested", run, actor=actor, attempt=attempt.number)


@transaction.atomic
def cancel_run(run: Run, *, actor: Any = None, reason: str = "") -> None:
    """End the run for good: at once while it waits, else by stopping its trainer and killing it if that takes long."""
    _permit(actor, "runs.launch", run.project)
    run, attempt = _lock(run)
    _refuse_ended(run, "cancelled")
    if attempt.cancel_requested:
        raise RunRefused(
            f"{run.name} is being cancelled already; its trainer has {settings.STOP_GRACE_SECONDS} s to leave."
        )
    now = timezone.now()
    if run.state == State.QUEUED:
        _set_state(run, attempt, State.CANCELLED, cancel_requested=now, ended=now, fault=reason)
        Run.objects.filter(pk=run.pk).update(ended=now, fault=reason)
    else:
        _set_state(run, attempt, State.STOPPING, cancel_requested=now)
    record("run.cancel_requested", run, actor=actor, attempt=attempt.number, reason=reason)


@transaction.atomic
def resume_run(run: Run, *, actor: Any = None, checkpoint: Checkpoint | None = None) -> Attempt:
    """Queue a new attempt that continues from a checkpoint: the newest that is kept, or the one named."""
    _permit(actor, "runs.launch", run.project)
    lock_queue()
    run, _ = _lock(run)
    _refuse_active(run, "resumed")
    if run.state == State.FINISHED:
        raise RunRefused(f"{run.name} is finished, so nothing is left to resume; launch its recipe again instead.")
    if checkpoint is None:
        checkpoint = newest_checkpoint(run)
        if checkpoint is None:
            raise RunRefused(f"{run.name} has no checkpoint to resume from; retry it from the start instead.")
    if checkpoint.run_id != run.pk:
        raise RunRefused(f"The checkpoint of step {checkpoint.step} belongs to another run; choose one of {run.name}.")
    if checkpoint.removed or not Path(checkpoint.directory).is_dir():
        raise RunRefused(f"The files of the checkpoint of step {checkpoint.step} were removed; choose another one.")
    _refuse_by_rights(run)
    attempt = _requeue(run, checkpoint)
    record("run.resumed", run, actor=actor, attempt=attempt.number, step=checkpoint.step)
    return attempt


@transaction.atomic
def retry_run(run: Run, *, actor: Any = None) -> Attempt:
    """Queue a new attempt from the start, of the same frozen spec."""
    _permit(actor, "runs.launch", run.project)
    lock_queue()
    run, _ = _lock(run)
    _refuse_active(run, "retried")
    if run.state == State.FINISHED:
        raise RunRefused(f"{run.name} is finished, and its result stays as it is; launch its recipe again instead.")
    _refuse_by_rights(run)
    attempt = _requeue(run, None)
    record("run.retried", run, actor=actor, attempt=attempt.number)
    return attempt


@transaction.atomic
def move_run(run: Run, *, actor: Any = None, position: int) -> None:
    """Put a waiting run at a place in the queue, counted from 1; the others keep their order."""
    _permit(actor, "runs.order_queue", run.project)
    lock_queue()
    waiting = list(Run.objects.filter(state=State.QUEUED).order_by("priority", "created"))
    places = [one.pk for one in waiting]
    if run.pk not in places:
        raise RunRefused(f"{run.name} does not wait in the queue, so it has no place there.")
    if not 1 <= position <= len(places):
        raise RunRefused(f"The queue has places 1 to {len(places)}; {position} is none of them.")
    before = places.index(run.pk) + 1
    first = min(one.priority for one in waiting)
    places.remove(run.pk)
    places.insert(position - 1, run.pk)
    # Priorities need not be without gaps, but they must differ for the order to be the one shown.
    for offset, key in enumerate(places):
        Run.objects.filter(pk=key).update(priority=first + offset)
    record("run.moved", run, actor=actor, before=before, position=position)


@transaction.atomic
def continue_parked(attempt_id: int) -> Attempt | None:
    """Queue a run again that was stopped only because the platform shut down; None where nothing is to continue."""
    lock_queue()
    run, attempt = _lock(Run.objects.get(attempts=attempt_id))
    if attempt.pk != attempt_id or attempt.stop_requested:
        return None
    # A trainer that was killed because it did not save in time is taken up again as well.
    if run.state != State.STOPPED and not (run.state == State.FAILED and (attempt.exit_code or 0) < 0):
        return None
    if refusal := explain_refusal(run):
        Run.objects.filter(pk=run.pk).update(fault=refusal)
        record("run.not_continued", run, reason=refusal)
        return None
    again = _requeue(run, newest_checkpoint(run), first=True)
    record("run.parked", run, attempt=again.number)
    return again


def newest_checkpoint(run: Run) -> Checkpoint | None:
    """The furthest checkpoint whose files are kept, of the newest attempt that made one."""
    kept = run.checkpoints.filter(removed=None).order_by("-attempt__number", "-step")
    return next((one for one in kept if Path(one.directory).is_dir()), None)


def _permit(actor: Any, permission: str, project: Project) -> None:
    """Nobody asks for what the role forbids, by whatever way; without an actor it is the platform itself that acts."""
    if actor is not None:
        require(actor, permission, project)


def _lock(run: Run) -> tuple[Run, Attempt]:
    """The run as it stands now, with its newest attempt, locked until the transaction ends."""
    # Attempt before run, the order in which claims and supervisors lock them too.
    attempt = run.attempts.select_for_update().order_by("-number")[0]
    return Run.objects.select_for_update().get(pk=run.pk), attempt


def explain_refusal(run: Run) -> str:
    """What rights have against beginning or going on with a run that was allowed when it was launched, in the
    sentences of a refused launch; empty: nothing. Asked in the transaction that lets it go on: under the lock taken
    here a withdrawal comes either before, and is seen, or after, and finds the run at work.
    """
    Project.objects.select_for_update().get(pk=run.project_id)
    try:
        refusals = judge_snapshot(run.project, run.snapshot).refusals
    except (ValidationError, KeyError):
        return ""  # A recipe of an older contract: the trainer will say what is wrong with it.
    return " ".join(dict.fromkeys(refusal.message for refusal in refusals))


def _refuse_by_rights(run: Run) -> None:
    if refusal := explain_refusal(run):
        raise RunRefused(f"{run.name} cannot go on: {refusal}")


def _set_state(run: Run, attempt: Attempt, state: State, **fields: Any) -> None:
    Attempt.objects.filter(pk=attempt.pk).update(state=state, **fields)
    Run.objects.filter(pk=run.pk).update(state=state, updated=timezone.now())


def _requeue(run: Run, checkpoint: Checkpoint | None, *, first: bool = False) -> Attempt:
    lock_queue()
    Run.objects.filter(pk=run.pk).update(
        state=State.QUEUED,
        fault="",
        ended=None,
        priority=run.priority if first else next_priority(),
        updated=timezone.now(),
    )
    return _queue_attempt(run, resume_from=checkpoint)


def _queue_attempt(run: Run, *, resume_from: Checkpoint | None) -> Attempt:
    number = (run.attempts.aggregate(last=Max("number"))["last"] or 0) + 1
    attempt = Attempt.objects.create(
        run=run,
        number=number,
        directory=str(settings.RUNS_DIRECTORY / str(run.pk) / f"attempt-{number}"),
        resume_from=resume_from,
    )
    announce(attempt)
    return attempt


def _refuse_ended(run: Run, verb: str) -> None:
    if not run.is_active:
        raise RunRefused(f"{run.name} has ended ({run.get_state_display().lower()}) and cannot be {verb}.")


def _refuse_active(run: Run, verb: str) -> None:
    if run.is_active:
        raise RunRefused(
            f"{run.name} is {run.get_state_display().lower()} and cannot be {verb}; stop or cancel it first."
        )
