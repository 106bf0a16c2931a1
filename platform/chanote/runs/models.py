"""Runs, their attempts, what the attempts told, and the metrics they left."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from chanote.accounts.models import Project
from chanote.accounts.visibility import VisibleQuerySet
from chanote.models.models import Model
from chanote.recipes.models import Revision


class State(models.TextChoices):
    """State of a run and of an attempt. The first three are active; the rest are ends."""

    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    STOPPING = "stopping", "Stopping"
    FINISHED = "finished", "Finished"
    FAILED = "failed", "Failed"
    STOPPED = "stopped", "Stopped"
    """Ended on request with a checkpoint: can be resumed."""
    CANCELLED = "cancelled", "Cancelled"


ACTIVE = (State.QUEUED, State.RUNNING, State.STOPPING)


class Run(models.Model):
    """One launch of a recipe revision. `snapshot` holds everything the result depends on and never changes."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="runs")
    number = models.PositiveIntegerField()
    name = models.CharField(max_length=120)
    revision = models.ForeignKey(Revision, on_delete=models.PROTECT, related_name="runs")
    base = models.ForeignKey(Model, null=True, blank=True, on_delete=models.PROTECT, related_name="runs")
    snapshot = models.JSONField()
    """The frozen `RunSpec` without attempt and resume_from, with code version, seed, datasets and hashes."""
    seed = models.PositiveBigIntegerField(default=0)
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED, db_index=True)
    priority = models.BigIntegerField(default=0)
    """Lower runs first; a new run gets the next number, an admin may change it."""
    total_steps = models.PositiveIntegerField(default=0)
    """Optimiser steps of all stages, as far as known; 0 while unknown."""
    step = models.PositiveIntegerField(default=0)
    stage = models.PositiveIntegerField(default=0)
    fault = models.TextField(blank=True)
    """One sentence on why the run failed, or was cancelled before it began."""
    notes = models.TextField(blank=True)
    created = models.DateTimeField(auto_now_add=True, db_index=True)
    started = models.DateTimeField(null=True, blank=True)
    ended = models.DateTimeField(null=True, blank=True)
    updated = models.DateTimeField(auto_now=True)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)

    objects = VisibleQuerySet.as_manager()

    class Meta:
        ordering = ["-created"]
        indexes = [models.Index(fields=["state", "priority"]), models.Index(fields=["project", "-created"])]
        constraints = [
            models.UniqueConstraint(fields=["project", "number"], name="run_number_unique_in_project"),
            models.CheckConstraint(condition=Q(state__in=State.values), name="run_state_known"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE


class ThroughRun(VisibleQuerySet):
    project_path = "run__project"


class Attempt(models.Model):
    """One process of a run. Only the holder of the current fence may write for it."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="attempts")
    number = models.PositiveIntegerField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED, db_index=True)
    directory = models.CharField(max_length=1000)
    resume_from = models.ForeignKey("Checkpoint", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    fence = models.PositiveIntegerField(default=0)
    """Raised by every claim; a supervisor that holds an older number must not write."""
    lease_until = models.DateTimeField(null=True, blank=True, db_index=True)
    heartbeat = models.DateTimeField(null=True, blank=True)
    worker = models.CharField(max_length=120, blank=True)
    supervisor_pid = models.PositiveIntegerField(null=True, blank=True)
    trainer_pid = models.PositiveIntegerField(null=True, blank=True)
    trainer_started = models.FloatField(null=True, blank=True)
    """Start time of the trainer process as the kernel gives it: a reused pid is not mistaken for it."""
    stop_requested = models.DateTimeField(null=True, blank=True)
    cancel_requested = models.DateTimeField(null=True, blank=True)
    exit_code = models.IntegerField(null=True, blank=True)
    fault = models.TextField(blank=True)
    ingested_bytes = models.PositiveBigIntegerField(default=0)
    """Offset in events.jsonl up to which every event is in the database."""
    next_seq = models.PositiveBigIntegerField(default=0)
    effects_seq = models.PositiveBigIntegerField(default=0)
    """Events below this number have had their effects outside the runs app: models registered, scores imported."""
    facts = models.JSONField(default=dict)
    """Payload of attempt_started: packages, hardware, device."""
    queued = models.DateTimeField(auto_now_add=True)
    started = models.DateTimeField(null=True, blank=True)
    ended = models.DateTimeField(null=True, blank=True)

    objects = ThroughRun.as_manager()

    class Meta:
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(fields=["run", "number"], name="attempt_number_unique_in_run"),
            models.UniqueConstraint(
                fields=["run"],
                condition=Q(state__in=["queued", "running", "stopping"]),
                name="one_active_attempt_per_run",
            ),
            models.CheckConstraint(condition=Q(state__in=State.values), name="attempt_state_known"),
        ]

    def __str__(self) -> str:
        return f"{self.run} attempt {self.number}"


class OutboxMessage(models.Model):
    """A nudge to send, written in the transaction that makes it needed; deleted once sent."""

    attempt = models.ForeignKey(Attempt, on_delete=models.CASCADE)
    created = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"nudge for {self.attempt_id}"


class ThroughAttempt(VisibleQuerySet):
    project_path = "attempt__run__project"


class RunEvent(models.Model):
    """One line of an attempt's events.jsonl, except metrics, which are stored as chunks. Its id orders live streams."""

    attempt = models.ForeignKey(Attempt, on_delete=models.CASCADE, related_name="events")
    seq = models.PositiveBigIntegerField()
    at = models.DateTimeField()
    type = models.CharField(max_length=30)
    payload = models.JSONField()

    objects = ThroughAttempt.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["attempt", "seq"], name="event_ingested_once")]

    def __str__(self) -> str:
        return f"{self.type} {self.seq}"


class Checkpoint(models.Model):
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="checkpoints")
    attempt = models.ForeignKey(Attempt, on_delete=models.CASCADE, related_name="checkpoints")
    step = models.PositiveIntegerField()
    stage = models.PositiveIntegerField()
    directory = models.CharField(max_length=1000)
    sha256 = models.CharField(max_length=64)
    bytes = models.PositiveBigIntegerField(default=0)
    stage_finished = models.BooleanField(default=False)
    removed = models.DateTimeField(null=True, blank=True)
    """When the trainer pruned its files."""
    model = models.OneToOneField(Model, null=True, blank=True, on_delete=models.SET_NULL, related_name="checkpoint")
    """The model it became."""
    created = models.DateTimeField(auto_now_add=True)

    objects = ThroughRun.as_manager()

    class Meta:
        ordering = ["step", "id"]
        constraints = [models.UniqueConstraint(fields=["attempt", "step"], name="one_checkpoint_per_attempt_and_step")]

    def __str__(self) -> str:
        return f"{self.run} step {self.step}"


class RolloutFile(models.Model):
    """The rollouts of one step, which stay in a file of the attempt's directory; here is what finds and counts them."""

    attempt = models.ForeignKey(Attempt, on_delete=models.CASCADE, related_name="rollout_files")
    step = models.PositiveIntegerField()
    stage = models.PositiveIntegerField()
    path = models.CharField(max_length=500)
    """Relative to the attempt directory."""
    groups = models.PositiveIntegerField()
    rollouts = models.PositiveIntegerField()
    masked = models.PositiveIntegerField(default=0)
    truncated = models.PositiveIntegerField(default=0)
    mean_reward = models.FloatField(null=True, blank=True)
    """Empty when there was none, or when it was no finite number."""
    bytes = models.PositiveBigIntegerField(default=0)
    calls_path = models.CharField(max_length=500, blank=True, default="")
    """Of the step's tool calls, relative to the attempt directory; empty where no tool was called."""
    listed = models.BooleanField(default=False)
    """Every rollout that can be read has its row."""
    calls_listed = models.BooleanField(default=False)
    """The rows say how many calls their rollouts made."""
    fault = models.TextField(blank=True, default="")
    """What was wrong with the files when they were read, in a sentence."""

    objects = ThroughAttempt.as_manager()

    class Meta:
        ordering = ["step", "id"]
        constraints = [models.UniqueConstraint(fields=["attempt", "step"], name="one_rollout_file_per_attempt_step")]

    def __str__(self) -> str:
        return f"{self.attempt} step {self.step}"


class RolloutPrompt(models.Model):
    """A prompt of a run, once for all rollouts of it."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="+")
    digest = models.CharField(max_length=64)
    """SHA-256 of the text as the policy saw it, in hexadecimal."""
    question = models.CharField(max_length=200)
    """The beginning of the last thing said in it."""
    body = models.TextField()
    """Its text as `rollout_search.fold` gives it. An index of its trigrams is kept by the database, see there."""

    objects = ThroughRun.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "digest"], name="prompt_stored_once_per_run")]

    def __str__(self) -> str:
        return self.question


class RolloutRow(models.Model):
    """What a list says of a rollout, and where it stands in its file. Made from the files; can be made again."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="rollout_rows", db_index=False)
    file = models.ForeignKey(RolloutFile, on_delete=models.CASCADE, related_name="rows", db_index=False)
    attempt = models.PositiveIntegerField()
    """Its number within the run."""
    step = models.PositiveIntegerField()
    group = models.PositiveIntegerField()
    index = models.PositiveIntegerField()
    prompt = models.ForeignKey(RolloutPrompt, on_delete=models.CASCADE, related_name="rows")
    row = models.CharField(max_length=200)
    """Identity of the prompt's row: dataset, version and number."""
    answer = models.CharField(max_length=200)
    """The beginning of what the policy said last."""
    tokens = models.PositiveIntegerField()
    """After the prompt, sampled and given ones together."""
    turns = models.PositiveIntegerField()
    calls = models.PositiveIntegerField(default=0)
    rejected_calls = models.PositiveIntegerField(default=0)
    """Calls that failed because of how the policy wrote them."""
    failed_calls = models.PositiveIntegerField(default=0)
    """Calls that were made and went wrong."""
    reward = models.FloatField(null=True)
    advantage = models.FloatField(null=True)
    detail = models.FloatField(null=True)
    """The first number that the algorithm added, such as the divergence from the teacher."""
    stop_reason = models.CharField(max_length=30)
    cut = models.BooleanField()
    """It did not end by itself."""
    masked = models.BooleanField()
    offset = models.PositiveBigIntegerField()
    """Of its line in the unpacked file, in bytes."""

    objects = ThroughRun.as_manager()

    class Meta:
        ordering = ["step", "group", "index", "id"]
        constraints = [models.UniqueConstraint(fields=["file", "group", "index"], name="rollout_listed_once")]
        # Each order of the list is read off an index that ends in the identity, forwards or backwards.
        indexes = [
            models.Index(fields=["run", "step", "group", "index", "id"], name="rollout_by_place"),
            models.Index(fields=["run", "reward", "id"], name="rollout_by_reward"),
            models.Index(fields=["run", "advantage", "id"], name="rollout_by_advantage"),
            models.Index(fields=["run", "tokens", "id"], name="rollout_by_length"),
            models.Index(fields=["run", "calls", "id"], name="rollout_by_calls"),
            models.Index(fields=["run", "detail", "id"], name="rollout_by_detail"),
            models.Index(fields=["run", "stop_reason", "id"], name="rollout_by_stop_reason"),
        ]

    def __str__(self) -> str:
        return f"{self.step}.{self.place}"

    @property
    def place(self) -> str:
        return f"{self.group}.{self.index}"


class RolloutText(models.Model):
    """What is searched in a rollout besides its prompt, as `rollout_search.fold` gives it."""

    rollout = models.OneToOneField(RolloutRow, primary_key=True, on_delete=models.CASCADE, related_name="text")
    body = models.TextField()

    def __str__(self) -> str:
        return f"text of {self.rollout_id}"


class MetricSeries(models.Model):
    """One curve of a run, with its latest point for tables and sorting."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="series")
    key = models.CharField(max_length=200)
    points = models.PositiveBigIntegerField(default=0)
    last_step = models.BigIntegerField(default=0)
    last_value = models.FloatField(null=True, blank=True)
    """Empty when the latest value is not a finite number."""
    lowest = models.FloatField(null=True, blank=True)
    highest = models.FloatField(null=True, blank=True)
    next_chunk = models.PositiveBigIntegerField(default=0)
    """Number of the next chunk of level 0."""
    sealed_before = models.PositiveBigIntegerField(default=0)
    """Chunks of level 0 below this number are summed up in the higher levels."""

    objects = ThroughRun.as_manager()

    class Meta:
        ordering = ["key"]
        constraints = [models.UniqueConstraint(fields=["run", "key"], name="one_series_per_run_and_key")]

    def __str__(self) -> str:
        return self.key


class MetricChunk(models.Model):
    """Consecutive points of a series as arrays of little-endian bytes.

    Level 0 holds raw points: int64 steps, float64 values, float64 wall times. Higher levels hold buckets: first and
    last step as int64; minimum, maximum, mean and number of the finite values, and the number of all values, as
    float64. No spike is lost in them.
    """

    series = models.ForeignKey(MetricSeries, on_delete=models.CASCADE, related_name="chunks")
    level = models.PositiveSmallIntegerField(default=0)
    seq = models.PositiveBigIntegerField()
    """Order within the series and level."""
    source = models.PositiveIntegerField(default=0)
    """Number of the attempt that logged the points; 0 for points sent over HTTP."""
    count = models.PositiveIntegerField()
    first_step = models.BigIntegerField()
    last_step = models.BigIntegerField()
    steps = models.BinaryField()
    values = models.BinaryField()
    times = models.BinaryField(blank=True, default=b"")

    class Meta:
        ordering = ["series", "level", "seq"]
        constraints = [
            models.UniqueConstraint(fields=["series", "level", "seq"], name="metric_chunk_stored_once"),
        ]

    def __str__(self) -> str:
        return f"{self.series} level {self.level} chunk {self.seq}"


class MetricBatch(models.Model):
    """A request of metrics that was stored, so that sending it again changes nothing."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="metric_batches")
    name = models.CharField(max_length=64)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "name"], name="metric_batch_stored_once")]

    def __str__(self) -> str:
        return self.name


class Worker(models.Model):
    """A worker process that said it lives; it claims attempts and watches leases."""

    name = models.CharField(max_length=200, unique=True)
    host = models.CharField(max_length=120)
    pid = models.PositiveIntegerField()
    started = models.DateTimeField(auto_now_add=True)
    heartbeat = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.name
