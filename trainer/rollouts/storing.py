"""Rollouts in files that people read: `rollouts/step-00000012.jsonl.zst`."""

import os
from collections.abc import Sequence
from pathlib import Path

import zstandard

from trainer.contract.events import RolloutsStored
from trainer.contract.rollouts import StoredRollout
from trainer.events_log import json_number
from trainer.failures import RunFailed
from trainer.rollouts.rollout import Rollout
from trainer.tokenizer import TokenTexts


def store_rollouts(
    rollouts: Sequence[Rollout], texts: TokenTexts, *, out: Path, stage: int, step: int
) -> RolloutsStored:
    """Write the rollouts of a step, complete or not at all, and describe them; raises RunFailed on a full disk."""
    prompts = {rollout.group: texts.of(rollout.prompt.ids) for rollout in rollouts}
    lines = [_line(rollout, prompts[rollout.group], texts.of(rollout.token_ids)) for rollout in rollouts]
    content = zstandard.ZstdCompressor(level=3).compress(b"".join(lines))
    path = Path("rollouts") / f"step-{step:08d}.jsonl.zst"
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
            f"the rollouts of step {step} could not be written ({error.strerror}); free space below {out} and resume."
        ) from error
    rewards = [rollout.reward for rollout in rollouts if rollout.reward is not None]
    return RolloutsStored(
        stage=stage,
        step=step,
        path=path.as_posix(),
        groups=len(prompts),
        rollouts=len(rollouts),
        masked=sum(bool(rollout.masked) for rollout in rollouts),
        mean_reward=json_number(sum(rewards) / len(rewards)) if rewards else None,
        truncated=sum(rollout.truncated for rollout in rollouts),
        bytes=len(content),
    )


def _line(rollout: Rollout, prompt: list[str], tokens: list[str]) -> bytes:
    reference = rollout.prompt.row.get("answer", "")
    stored = StoredRollout(
        group=rollout.group,
        index=rollout.index,
        row=rollout.prompt.name,
        prompt=prompt,
        tokens=tokens,
        trained=rollout.trained,
        logprobs=rollout.logprobs,
        text=rollout.text,
        reference=reference if isinstance(reference, str) else "",
        rewards=rollout.components,
        reward=rollout.reward,
        advantage=rollout.advantage,
        stop_reason=rollout.stop_reason.value,
        masked=rollout.masked,
        detail=rollout.detail,
    )
    return stored.model_dump_json().encode() + b"\n"
