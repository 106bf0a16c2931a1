"""The queue of attempts that wait for a device slot, and why each waits."""

from datetime import timedelta

from django.conf import settings
from django.db.models import Max, QuerySet
from django.utils import timezone

from chanote.runs.leases import HOLDS_SLOT
from chanote.runs.models import Attempt, Run, State, Worker


def queued_attempts() -> QuerySet[Attempt]:
    """Attempts in the order in which they will start, over all projects: the device slots are shared."""
    return Attempt.objects.filter(state=State.QUEUED).select_related("run").order_by("run__priority", "pk")


def running_attempts() -> QuerySet[Attempt]:
    """Attempts that hold a device slot, the oldest first."""
    return Attempt.objects.filter(state__in=HOLDS_SLOT).select_related("run").order_by("started", "pk")


def first_in_queue() -> Attempt | None:
    return queued_attempts().first()


def position_of(run: Run) -> int | None:
    """Place in the queue from 1; None when the run does not wait."""
    for position, waiting in enumerate(queued_attempts().values_list("run_id", flat=True), start=1):
        if waiting == run.pk:
            return position
    return None


def next_priority() -> int:
    """Priority that puts a run at the end of the queue."""
    return int(Run.objects.aggregate(last=Max("priority"))["last"] or 0) + 1


def live_workers() -> QuerySet[Worker]:
    """Workers heard from lately."""
    return Worker.objects.filter(heartbeat__gte=timezone.now() - timedelta(seconds=silence_allowed()))


def silence_allowed() -> int:
    """Seconds after which a worker that said nothing counts as gone."""
    return int(max(3 * settings.RECONCILE_SECONDS, 10))


def worker_silence() -> int | None:
    """Seconds since any worker was heard from; None when none ever was."""
    last = Worker.objects.aggregate(last=Max("heartbeat"))["last"]
    return None if last is None else max(0, int((timezone.now() - last).total_seconds()))


def waiting_reason(run: Run) -> str:
    """One sentence on why a queued run does not start yet; empty for a run that does not wait."""
    position = position_of(run)
    if position is None:
        return ""
    silence = worker_silence()
    if silence is None:
        return "No worker has ever been started on this installation; start one with `chanote up`."
    if silence > silence_allowed():
        return f"No worker has been heard from for {silence} s; start one with `chanote up`."
    if position > 1:
        return (
            f"Number {position} in the queue: {position - 1} {'run starts' if position == 2 else 'runs start'} first."
        )
    holders = list(running_attempts())
    if len(holders) >= settings.DEVICE_SLOTS:
        names = ", ".join(_describe(attempt.run, run) for attempt in holders)
        slots = "the device slot" if settings.DEVICE_SLOTS == 1 else f"all {settings.DEVICE_SLOTS} device slots"
        return f"Next in the queue: {slots} {'is' if settings.DEVICE_SLOTS == 1 else 'are'} held by {names}."
    return "Next in the queue: a worker is about to start it."


def _describe(holder: Run, asking: Run) -> str:
    """The run by name within one project; of another project's run nobody is told more than that it exists."""
    if holder.project_id == asking.project_id:
        return f"{holder.name} (#{holder.number})"
    return "a run of another project"
