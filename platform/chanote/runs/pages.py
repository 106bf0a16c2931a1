"""What the tabs of one run show, read in few queries and put into plain shapes for the templates."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import yaml
from django.db.models import Max

from chanote.audit.models import AuditEvent
from chanote.boards.models import Evaluation
from chanote.runs.facts import (
    IDLE_SHARE,
    LOSS,
    REWARD,
    SECONDS_PER_STEP,
    list_stages,
    name_stage,
    time_left,
    time_spent,
)
from chanote.runs.models import ACTIVE, Attempt, Checkpoint, MetricSeries, Run, RunEvent, State

EVENTS_SHOWN = 200


@dataclass(frozen=True)
class Figures:
    """The numbers of the page's head; texts are finished so that a live update only replaces them."""

    step: int
    total: int
    percent: int
    loss: float | None
    held_out: float | None
    reward: float | None
    seconds_per_step: float | None
    idle: float | None
    """Per cent of the last step in which the device did nothing."""
    tokens: float | None
    left: float | None
    spent: float


def read_figures(run: Run, attempts: Iterable[Attempt], series: Iterable[MetricSeries]) -> Figures:
    last = {one.key: one.last_value for one in series}
    held_out = next((last[key] for key in sorted(last) if key.startswith("held_out/") and key.endswith("/loss")), None)
    speed = last.get(SECONDS_PER_STEP)
    return Figures(
        step=run.step,
        total=run.total_steps,
        percent=100 * run.step // run.total_steps if run.total_steps else 0,
        loss=last.get(LOSS),
        held_out=held_out,
        reward=last.get(REWARD),
        seconds_per_step=speed,
        idle=None if (idle := last.get(IDLE_SHARE)) is None else 100 * idle,
        tokens=last.get("train/tokens"),
        left=time_left(run, speed),
        spent=time_spent(attempts),
    )


@dataclass
class StageLine:
    """One stage on the strip. `look` is a state of the status pill, or `draft` for what is still planned."""

    name: str
    kind: str
    look: str
    word: str
    first_step: int | None = None
    steps: int | None = None
    phase: str = ""
    notes: dict[str, Any] = field(default_factory=dict)


def list_stage_lines(run: Run, events: Iterable[RunEvent]) -> list[StageLine]:
    """Stages of the recipe with what the events tell of them; later attempts overwrite earlier ones."""
    lines = [
        StageLine(name_stage(stage), str(stage.get("kind", "")), "draft", "Planned", steps=stage.get("steps"))
        for stage in list_stages(run)
    ]
    for event in events:
        number = event.payload.get("stage")
        if number is None or not 0 <= number < len(lines):
            continue
        line = lines[number]
        if event.type == "stage_started":
            line.look, line.word = "running", "Running"
            line.first_step, line.steps = event.payload.get("first_step"), event.payload.get("steps")
            line.notes = event.payload.get("notes") or {}
        elif event.type == "phase_progressed":
            line.phase = word_phase(event.payload)
        elif event.type == "stage_finished":
            line.look, line.word, line.phase = "finished", "Finished", ""
    if run.state not in (State.RUNNING, State.STOPPING):
        for line in lines:
            if line.look == "running":
                line.look, line.word, line.phase = str(run.state), str(State(run.state).label), ""
    return lines


def word_phase(facts: dict[str, Any]) -> str:
    """What a stage does between its steps and how far it is; empty once that is done."""
    done, total = facts.get("done", 0), facts.get("total", 0)
    return f"{facts.get('phase')} {done:,} of {total:,}" if done < total else ""


@dataclass(frozen=True)
class LogLine:
    """One line of the event log: who did what, when."""

    at: datetime
    who: str
    what: str
    detail: str = ""
    look: str = ""


def list_log(run: Run, events: Iterable[RunEvent]) -> list[LogLine]:
    """What people did to the run and what its attempts told, the newest first."""
    lines = [
        LogLine(
            audit.at,
            audit.actor_name or "Chanote",
            audit.verb.partition(".")[2].replace("_", " ").capitalize(),
            ", ".join(f"{key}: {value}" for key, value in audit.detail.items() if value not in ("", None)),
        )
        for audit in AuditEvent.objects.filter(object_kind="run", object_id=str(run.pk))[:EVENTS_SHOWN]
    ]
    for event in events:
        told = tell_event(event)
        if told:
            look = {"attempt_failed": "failed", "run_finished": "finished", "attempt_stopped": "stopped"}
            lines.append(
                LogLine(event.at, f"Attempt {event.attempt.number}", told[0], told[1], look.get(event.type, ""))
            )
    return sorted(lines, key=lambda line: line.at, reverse=True)[:EVENTS_SHOWN]


def tell_event(event: RunEvent) -> tuple[str, str] | None:
    """An attempt's event as a heading and a detail; None for what the log leaves out."""
    facts = event.payload
    step = f"step {facts['step']:,}" if isinstance(facts.get("step"), int) else ""
    match event.type:
        case "attempt_started":
            resumed = facts.get("resumed_from_step")
            where = f"on {facts.get('hostname', '')}, {facts.get('device', '')}"
            return ("Resumed", f"from step {resumed:,} {where}") if resumed is not None else ("Started", where)
        case "stage_started":
            return f"Stage {name_stage(facts)} started", f"{facts.get('steps', 0):,} steps"
        case "stage_finished":
            return f"Stage {facts.get('stage', 0) + 1} finished", step
        case "checkpoint_saved":
            return "Checkpoint saved", f"{step}, {str(facts.get('sha256', ''))[:12]}"
        case "checkpoint_removed":
            return "Checkpoint removed", step
        case "task_scored":
            mean = facts.get("mean")
            score = f"mean {mean:.4g}" if isinstance(mean, int | float) else "no mean"
            return f"Scored on {facts.get('task')}", f"{step}, {score}, {facts.get('samples')} items"
        case "attempt_stopped":
            return "Stopped", f"{step}, {facts.get('reason', '')}".strip(", ")
        case "attempt_failed":
            return "Failed", str(facts.get("error", ""))
        case "run_finished":
            return "Finished", step
        case "ingest_problem":
            return "Events could not be read", str(facts.get("message", ""))
        case "attempt_ended":
            code = facts.get("exit_code")
            return f"Ended: {facts.get('state', '')}", f"exit code {code}" if code is not None else ""
        case "attempt_adopted":
            return "A new supervisor took over", ""
    return None


def read_events(run: Run) -> list[RunEvent]:
    """The run's events in the order in which they were stored, without those that every step repeats.

    These are rows of batches and files of rollouts, which have tabs of their own; of progress the latest is among them.
    """
    events = RunEvent.objects.filter(attempt__run=run).select_related("attempt")
    repeated = ["batch_seen", "rollouts_stored", "tool_calls_stored", "phase_progressed", "energy_used"]
    lasting = list(events.exclude(type__in=repeated).order_by("id"))
    progress = events.filter(type="phase_progressed").order_by("-id").first()
    return sorted([*lasting, progress], key=lambda event: event.pk) if progress else lasting


def find_cursor(run: Run) -> int:
    """The last event stored, from which a live stream goes on; 0 before the first."""
    return RunEvent.objects.filter(attempt__run=run).aggregate(last=Max("id"))["last"] or 0


@dataclass(frozen=True)
class Mark:
    """A vertical line on the charts."""

    step: int
    label: str
    kind: str
    """stage, attempt or checkpoint."""


def list_marks(run: Run, events: Iterable[RunEvent]) -> list[Mark]:
    """Borders of stages, starts of later attempts and checkpoints, by global optimiser step, each once."""
    marks: dict[tuple[str, int], Mark] = {}
    for event in events:
        facts = event.payload
        if event.type == "stage_started" and facts.get("steps"):
            step = facts["first_step"]
            marks[("stage", step)] = Mark(step, name_stage(facts), "stage")
        elif event.type == "attempt_started" and event.attempt.number > 1:
            step = facts.get("resumed_from_step") or 0
            marks[("attempt", step)] = Mark(step, f"attempt {event.attempt.number}", "attempt")
        elif event.type == "checkpoint_saved":
            marks.setdefault(("checkpoint", facts["step"]), Mark(facts["step"], "", "checkpoint"))
    return sorted(marks.values(), key=lambda mark: mark.step)


@dataclass(frozen=True)
class CheckpointLine:
    checkpoint: Checkpoint
    stage: str
    refusal: str
    """Why the run cannot be resumed from it; empty when it can."""


def list_checkpoints(run: Run, *, allowed: bool) -> list[CheckpointLine]:
    stages = list_stages(run)
    lines = []
    for one in run.checkpoints.select_related("model", "attempt").order_by("-step", "-id"):
        refusal = (
            "Your role does not allow it."
            if not allowed
            else "Its files were removed."
            if one.removed
            else "The run is still active."
            if run.state in ACTIVE
            else "The run is finished: nothing is left to resume."
            if run.state == State.FINISHED
            else ""
        )
        stage = name_stage(stages[one.stage]) if one.stage < len(stages) else f"stage {one.stage + 1}"
        lines.append(CheckpointLine(one, stage, refusal))
    return lines


def find_resumable(run: Run) -> bool:
    return run.checkpoints.filter(removed=None).exists()


def list_evaluations(run: Run) -> list[Evaluation]:
    evaluations = run.evaluations.select_related("task", "model").prefetch_related("boards")
    return list(evaluations.order_by("step", "task__slug", "id"))


@dataclass(frozen=True)
class TokenRun:
    """Consecutive tokens that all train or are all masked, shown as one span of tokens."""

    trained: bool
    tokens: list[str]


@dataclass(frozen=True)
class SampleRow:
    stage: int
    step: int
    stage_name: str
    runs: list[TokenRun]
    tokens: int
    trained: int
    lang: str


def list_samples(run: Run) -> list[SampleRow]:
    """Rows of the first batch of each stage exactly as the policy saw them; a later attempt replaces an earlier one."""
    stages = list_stages(run)
    by_stage: dict[int, RunEvent] = {}
    for event in RunEvent.objects.filter(attempt__run=run, type="batch_seen").order_by("id"):
        by_stage[event.payload.get("stage", 0)] = event
    rows = []
    for number, event in sorted(by_stage.items()):
        name = name_stage(stages[number]) if number < len(stages) else f"stage {number + 1}"
        for row in event.payload.get("rows", []):
            runs: list[TokenRun] = []
            for token in row:
                if not runs or runs[-1].trained != token["trained"]:
                    runs.append(TokenRun(bool(token["trained"]), []))
                runs[-1].tokens.append(token["text"])
            trained = sum(len(one.tokens) for one in runs if one.trained)
            text = "".join(token["text"] for token in row)
            rows.append(
                SampleRow(number, event.payload.get("step", 0), name, runs, len(row), trained, guess_language(text))
            )
    return rows


def guess_language(text: str) -> str:
    """`th` or `ko` when a tenth of the letters are Thai or Hangul, else nothing: enough to choose a font by."""
    letters = [letter for letter in text if letter.isalpha() or "\u0e30" <= letter <= "\u0e4e"]
    if not letters:
        return ""
    for language, low, high in (("th", "\u0e00", "\u0e7f"), ("ko", "\uac00", "\ud7a3")):
        if sum(low <= letter <= high for letter in letters) * 10 >= len(letters):
            return language
    return ""


def list_facts(attempt: Attempt) -> list[tuple[str, Any]]:
    """What the trainer told of its surroundings, flat, with names as people write them."""
    facts = []
    for name, value in attempt.facts.items():
        if isinstance(value, dict):
            spelled = str.capitalize if name == "hardware" else str
            facts += [(spelled(key.replace("_", " ")), inner) for key, inner in value.items()]
        elif value is not None:
            facts.append((name.replace("_", " ").capitalize(), value))
    return facts


class _PlainDumper(yaml.SafeDumper):
    """Long texts as blocks, no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_PlainDumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def put_kinds_first(value: Any) -> Any:
    """The same with `kind` and `name` before all else, as people write it, wherever the database put them."""
    if isinstance(value, list):
        return [put_kinds_first(one) for one in value]
    if not isinstance(value, dict):
        return value
    first = [key for key in ("kind", "name") if "kind" in value and key in value]
    return {key: put_kinds_first(value[key]) for key in dict.fromkeys([*first, *value])}


def dump_yaml(value: Any) -> str:
    return yaml.dump(put_kinds_first(value), Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, width=110)
