"""Rollouts and their tool calls in files that people read: `rollouts/step-00000012.jsonl.zst`, `tool_calls/…`."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import zstandard

from trainer.contract.events import RolloutsStored, ToolCallsStored
from trainer.contract.rollouts import StoredRollout
from trainer.contract.tool_calls import StoredToolCall
from trainer.events_log import json_number
from trainer.failures import RunFailed
from trainer.rollouts.rollout import MadeCall, Rollout
from trainer.tokenizer import TokenTexts


def store_rollouts(
    rollouts: Sequence[Rollout], texts: TokenTexts, *, out: Path, stage: int, step: int
) -> RolloutsStored:
    """Write the rollouts of a step, complete or not at all, and describe them; raises RunFailed on a full disk."""
    prompts = {rollout.group: texts.of(rollout.prompt.ids) for rollout in rollouts}
    lines = [_line(rollout, prompts[rollout.group], texts.of(rollout.token_ids)) for rollout in rollouts]
    path, size = _write(lines, out=out, folder="rollouts", step=step)
    rewards = [rollout.reward for rollout in rollouts if rollout.reward is not None]
    return RolloutsStored(
        stage=stage,
        step=step,
        path=path,
        groups=len(prompts),
        rollouts=len(rollouts),
        masked=sum(bool(rollout.masked) for rollout in rollouts),
        mean_reward=json_number(sum(rewards) / len(rewards)) if rewards else None,
        truncated=sum(rollout.truncated for rollout in rollouts),
        bytes=size,
    )


def store_calls(rollouts: Sequence[Rollout], *, out: Path, stage: int, step: int) -> ToolCallsStored | None:
    """Write the tool calls of a step in a file of their own; None where no tool was called."""
    lines = [
        _call_line(made, f"{rollout.group}.{rollout.index}", step, place)
        for rollout in rollouts
        for place, made in enumerate(rollout.calls)
    ]
    if not lines:
        return None
    path, _ = _write(lines, out=out, folder="tool_calls", step=step)
    return ToolCallsStored(stage=stage, step=step, path=path, calls=len(lines))


def _write(lines: Sequence[bytes], *, out: Path, folder: str, step: int) -> tuple[str, int]:
    """Path below the attempt directory, and bytes."""
    content = zstandard.ZstdCompressor(level=3).compress(b"".join(lines))
    path = Path(folder) / f"step-{step:08d}.jsonl.zst"
    partial = out / path.with_suffix(".zst.partial")
    try:
        partial.parent.mkdir(exist_ok=True)
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(out / path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise RunFailed(
            f"the {folder.replace('_', ' ')} of step {step} could not be written ({error.strerror}); free space below "
            f"{out} and resume."
        ) from error
    return path.as_posix(), len(content)


def _line(rollout: Rollout, prompt: list[str], tokens: list[str]) -> bytes:
    reference = rollout.prompt.row.get("answer", "")
    stored = StoredRollout(
        group=rollout.group,
        index=rollout.index,
        row=rollout.prompt.name,
        prompt=prompt,
        tokens=tokens,
        ids=rollout.token_ids,
        trained=rollout.trained,
        logprobs=rollout.logprobs,
        text=rollout.text,
        reference=reference if isinstance(reference, str) else "",
        rewards=rollout.components,
        words=rollout.words,
        reward=rollout.reward,
        advantage=rollout.advantage,
        stop_reason=rollout.stop_reason.value,
        masked=rollout.masked,
        detail=rollout.detail,
        turns=rollout.turns,
        age=rollout.age,
    )
    return stored.model_dump_json().encode() + b"\n"


def _call_line(made: MadeCall, rollout: str, step: int, place: int) -> bytes:
    stored = StoredToolCall.model_validate(
        {
            "call": made.result.call_id or f"{step}-{rollout}-{place}",
            "step": step,
            "rollout": rollout,
            "turn": made.turn,
            "tool": (made.call.name or "none")[:80],
            "arguments": json.dumps(made.call.arguments, ensure_ascii=False)
            if made.call.arguments
            else made.call.written,
            "status": made.result.status,
            "wall_ms": made.result.wall_ms,
            "output": made.result.text,
            "tries": made.result.tries,
            "at": made.result.at,
        }
    )
    return stored.model_dump_json().encode() + b"\n"
