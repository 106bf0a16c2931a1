"""The queue as one project may see it: slots, who holds them, who waits and why."""

from dataclasses import dataclass

from django.conf import settings

from chanote.accounts.models import Project
from chanote.runs.models import Attempt
from chanote.runs.queue import queued_attempts, running_attempts, silence_allowed, waiting_reason, worker_silence


@dataclass(frozen=True)
class Waiting:
    position: int
    attempt: Attempt | None
    """None for a run of a project that this one does not see."""
    reason: str


@dataclass(frozen=True)
class Queue:
    running: list[Attempt | None]
    waiting: list[Waiting]
    hidden: int
    """Waiting runs of other projects."""
    worker: str
    """What is wrong with the workers; empty when one lives."""

    @property
    def free(self) -> int:
        return max(settings.DEVICE_SLOTS - len(self.running), 0)


def read_queue(project: Project) -> Queue:
    """Runs of other projects take their places in it, without their names."""
    running = list(running_attempts().select_related("run__owner", "run__revision__recipe", "run__project"))
    queued = list(queued_attempts().select_related("run__owner", "run__revision__recipe", "run__project"))
    waiting = []
    before = ""
    for position, attempt in enumerate(queued, start=1):
        own = attempt.run.project_id == project.pk
        if position == 1:
            reason = waiting_reason(attempt.run) if own else ""
        else:
            reason = f"Waits for {before} before it."
        before = f"{attempt.run.name} (#{attempt.run.number})" if own else "a run of another project"
        waiting.append(Waiting(position, attempt if own else None, reason))
    silence = worker_silence()
    worker = ""
    if silence is None:
        worker = "No worker has ever been started on this installation; start one with `chanote up`."
    elif silence > silence_allowed():
        worker = f"No worker has been heard from for {silence} s; start one with `chanote up`."
    return Queue(
        running=[one if one.run.project_id == project.pk else None for one in running],
        waiting=waiting,
        hidden=sum(one.attempt is None for one in waiting),
        worker=worker,
    )
