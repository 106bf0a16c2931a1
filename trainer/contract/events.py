"""What an attempt tells while it lives: lines of `events.jsonl`, each with `seq`, `at`, `type` and its payload.

Steps count optimiser steps over the whole run (`step`), from 1; a stage starts after the last step of the one before.
Metric values are finite numbers or the strings NaN, Infinity and -Infinity, since JSON has no word for those.
"""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, TypeAdapter

from trainer.contract.base import Contract
from trainer.contract.episodes import ScoredEpisode
from trainer.contract.judging import JudgedBy

NonFinite = Literal["NaN", "Infinity", "-Infinity"]


class AttemptStarted(Contract):
    type: Literal["attempt_started"] = "attempt_started"
    pid: int
    hostname: str
    device: str
    threads: int
    packages: dict[str, str]
    """Versions of Python, torch, transformers, tokenizers, safetensors and numpy."""
    hardware: dict[str, str | int | float]
    resumed_from_step: int | None = None


class StageStarted(Contract):
    type: Literal["stage_started"] = "stage_started"
    stage: NonNegativeInt
    """Position in the recipe, from 0."""
    kind: str
    name: str
    first_step: NonNegativeInt
    """First global step of the stage (the step before it when the stage trains nothing)."""
    steps: NonNegativeInt
    """Optimiser steps the stage will make; 0 for an evaluate stage."""
    notes: dict[str, str | int | float | bool] = {}
    """Facts frozen with the stage: rows, tokens, cut rows, which tokens the loss counts, parameters."""


class MemoryPlanned(Contract):
    """What a stage will take of memory at most, told before its first step."""

    type: Literal["memory_planned"] = "memory_planned"
    stage: NonNegativeInt
    swap: bool
    """Whether what a phase does not need is kept elsewhere."""
    peak: NonNegativeInt
    """Bytes of one process in the phase that needs most."""
    room: NonNegativeInt
    """Bytes that one process may take."""
    where: str
    """What has that room."""
    phases: dict[str, dict[str, NonNegativeInt]]
    """Phase → part → bytes."""
    parked: dict[str, NonNegativeInt] = {}
    """Part → bytes that are kept elsewhere."""


class MemoryMeasured(Contract):
    """The plan checked after the stage's first step."""

    type: Literal["memory_measured"] = "memory_measured"
    stage: NonNegativeInt
    step: NonNegativeInt
    planned: NonNegativeInt
    measured: NonNegativeInt
    """Most bytes that the process has held."""
    before: NonNegativeInt
    """The same when the stage began: where it is not less, the stage itself took no more than that."""


class PhaseProgressed(Contract):
    """Progress of work without steps of its own, such as tokenising or evaluating."""

    type: Literal["phase_progressed"] = "phase_progressed"
    stage: NonNegativeInt
    phase: str
    done: NonNegativeInt
    total: NonNegativeInt


class MetricsLogged(Contract):
    type: Literal["metrics_logged"] = "metrics_logged"
    stage: NonNegativeInt
    step: NonNegativeInt
    values: dict[str, float | NonFinite]
    """By key such as `train/loss`, `train/learning_rate`, `held_out/<dataset>/loss`, `system/tokens_per_s`."""


class SampleToken(Contract):
    text: str
    trained: bool
    """False: masked, the token gives no gradient."""


class BatchSeen(Contract):
    """Rows of a stage's first batch exactly as the policy sees them."""

    type: Literal["batch_seen"] = "batch_seen"
    stage: NonNegativeInt
    step: NonNegativeInt
    rows: list[list[SampleToken]]


class RolloutsStored(Contract):
    """The rollouts of a step stand in `path`, one `StoredRollout` a line."""

    type: Literal["rollouts_stored"] = "rollouts_stored"
    stage: NonNegativeInt
    step: NonNegativeInt
    path: str
    """Relative to the attempt directory."""
    groups: PositiveInt
    rollouts: PositiveInt
    masked: NonNegativeInt = 0
    mean_reward: float | NonFinite | None = None
    truncated: NonNegativeInt = 0
    bytes: NonNegativeInt


class ToolCallsStored(Contract):
    """The tool calls of a step's rollouts stand in `path`, one `StoredToolCall` a line."""

    type: Literal["tool_calls_stored"] = "tool_calls_stored"
    stage: NonNegativeInt
    step: NonNegativeInt
    path: str
    """Relative to the attempt directory; JSON lines, packed by zstd where the name ends in .zst."""
    calls: PositiveInt


class CheckpointSaved(Contract):
    """Follows the rename that makes the checkpoint exist."""

    type: Literal["checkpoint_saved"] = "checkpoint_saved"
    stage: NonNegativeInt
    step: NonNegativeInt
    path: str
    """Relative to the attempt directory."""
    sha256: str
    """Hash of the model files, as in `ModelFile`."""
    bytes: NonNegativeInt
    stage_finished: bool
    """The stage's last checkpoint: a model worth keeping."""


class CheckpointRemoved(Contract):
    type: Literal["checkpoint_removed"] = "checkpoint_removed"
    step: NonNegativeInt
    path: str


class TaskScored(Contract):
    """One task evaluated; its samples stand in `samples_path`, one `ScoredSample` per line."""

    type: Literal["task_scored"] = "task_scored"
    stage: NonNegativeInt
    step: NonNegativeInt
    task: str
    board: str = ""
    model_sha256: str
    checkpoint_path: str = ""
    """Checkpoint that was scored, relative to the attempt directory; empty: the run's base model."""
    samples_path: str
    """Relative to the attempt directory."""
    samples: PositiveInt
    left_out: NonNegativeInt = 0
    """Samples that are no answers and count neither as right nor as wrong: tools or a judge failed."""
    mean: float | NonFinite
    seconds: float


class EnergyPart(Contract):
    """What one part of the machines used."""

    what: Literal["cpu", "gpu"]
    """cpu: processors with their memory; gpu: those that computed."""
    basis: Literal["measured", "estimated", "unknown"]
    """measured: by counters of the hardware; estimated: from watts that somebody set; unknown: nothing tells it."""
    source: str = ""
    """What told it, such as `package-0, dram`, NVML, or the watts that were set."""
    joules: float | None = Field(None, ge=0)
    """Of all processes together; None exactly when unknown."""


class EnergyUsed(Contract):
    """Energy since the attempt began; the last one of an attempt counts. Attempts of a run add up."""

    type: Literal["energy_used"] = "energy_used"
    step: NonNegativeInt
    seconds: float
    """For which it was used."""
    parts: list[EnergyPart]


class StageFinished(Contract):
    type: Literal["stage_finished"] = "stage_finished"
    stage: NonNegativeInt
    step: NonNegativeInt


class RunFinished(Contract):
    type: Literal["run_finished"] = "run_finished"
    step: NonNegativeInt


class AttemptStopped(Contract):
    type: Literal["attempt_stopped"] = "attempt_stopped"
    step: NonNegativeInt
    reason: str


class AttemptFailed(Contract):
    type: Literal["attempt_failed"] = "attempt_failed"
    error: str
    """One sentence: what happened and what to do."""
    detail: str = ""
    """Traceback, for the log page."""


Event = Annotated[
    AttemptStarted
    | StageStarted
    | MemoryPlanned
    | MemoryMeasured
    | PhaseProgressed
    | MetricsLogged
    | BatchSeen
    | RolloutsStored
    | ToolCallsStored
    | CheckpointSaved
    | CheckpointRemoved
    | TaskScored
    | EnergyUsed
    | StageFinished
    | RunFinished
    | AttemptStopped
    | AttemptFailed,
    Field(discriminator="type"),
]


class EventLine(Contract):
    """One line of `events.jsonl`."""

    seq: NonNegativeInt
    """Counts from 0 without gaps within one attempt."""
    at: float
    """Seconds since 1970, UTC."""
    event: Event


class ScoredSample(Contract):
    """One item of one task as one model answered it: a line of a samples file."""

    item: str
    """Identity of the item within the task, the same for every model."""
    cluster: str = ""
    prompt: str
    output: str
    target: str
    score: float | None
    """None when the item could not be scored: status says why."""
    status: Literal["ok", "truncated", "unparsable", "error", "left_out"]
    """left_out: through no fault of the model there is nothing to score, and the item counts for nothing."""
    tokens: NonNegativeInt = 0
    """Sampled tokens, or tokens whose likelihood was taken."""
    detail: dict[str, float | int | str | list[float] | list[JudgedBy]] = {}
    """Such as the log-likelihood of each option; of a judged answer what each judge said."""
    episode: ScoredEpisode | None = None
    """Of an agent."""


_EVENT_LINE: TypeAdapter[EventLine] = TypeAdapter(EventLine)


def parse_event(line: str | bytes) -> EventLine:
    """Read one line of `events.jsonl`; raises pydantic.ValidationError on anything else."""
    return _EVENT_LINE.validate_json(line)
