"""Files of rollouts and their rows, written as the trainer and ingest would leave them."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import zstandard

from chanote.runs.models import Attempt, RolloutFile, Run
from tests.run_rows import tell
from trainer.contract.events import RolloutsStored
from trainer.contract.rollouts import StoredRollout
from trainer.contract.tool_calls import StoredToolCall


def make_rollout(group: int = 0, index: int = 0, **fields: Any) -> StoredRollout:
    """A completion of three tokens; reward, text and whatever else may be given."""
    tokens = fields.pop("tokens", ["The ", "answer ", "is."])
    reward = fields.pop("reward", 0.5)
    given: dict[str, Any] = {
        "group": group,
        "index": index,
        "row": f"questions@1#{group + 1}",
        "prompt": ["<|im_start|>", "user\n", f"Question {group}?", "<|im_end|>", "\n", "assistant\n"],
        "tokens": tokens,
        "trained": [True] * len(tokens),
        "logprobs": [math.log(0.95)] * len(tokens),
        "text": "".join(tokens),
        "rewards": {"exact": reward},
        "reward": reward,
        "advantage": 0.0 if reward is not None else None,
        "stop_reason": "end_token",
    }
    return StoredRollout(**given | fields)


def make_episode(group: int = 0, index: int = 0, **fields: Any) -> StoredRollout:
    """Two turns with a tool between them: thoughts and a call, what the tool said, thoughts and an answer."""
    first = ["<think>", "Which act?", "</think>", "\n", "<tool_call>", '{"name": "search_law"}', "</tool_call>"]
    told = ["\n<|im_start|>user\n", "<tool_response>", "[1] Market Code", "</tool_response>", "<|im_end|>\n"]
    answer = fields.pop("answer", ["<think>", "Day 4.", "</think>", "On ", "day ", "4."])
    tokens = [*first, *told, *answer]
    trained = [True] * len(first) + [False] * len(told) + [True] * len(answer)
    given = {
        "tokens": tokens,
        "ids": list(range(100, 100 + len(tokens))),
        "trained": trained,
        "logprobs": [math.log(0.95) if flag else None for flag in trained],
        "text": "".join(answer).rpartition("</think>")[2],
        "turns": [(0, len(first)), (len(first) + len(told), len(tokens))],
        "stop_reason": "answered",
    }
    return make_rollout(group, index, **given | fields)


def make_tool_call(place: str = "0.0", **fields: Any) -> StoredToolCall:
    """A call of the first turn that went well."""
    given = {
        "call": f"call-{place}",
        "step": 1,
        "rollout": place,
        "turn": 1,
        "tool": "search_law",
        "arguments": '{"query": "market"}',
        "status": "ok",
        "wall_ms": 41.0,
        "output": "[1] Market Code",
    }
    return StoredToolCall(**given | fields)


def pack(rollouts: Sequence[StoredRollout | StoredToolCall], *, after: bytes = b"") -> bytes:
    lines = b"".join(one.model_dump_json().encode() + b"\n" for one in rollouts)
    return zstandard.ZstdCompressor().compress(lines + after)


def stored_event(step: int, rollouts: Sequence[StoredRollout], *, size: int = 1, stage: int = 0) -> RolloutsStored:
    rewards = [one.reward for one in rollouts if one.reward is not None]
    return RolloutsStored(
        stage=stage,
        step=step,
        path=f"rollouts/step-{step:08d}.jsonl.zst",
        groups=len({one.group for one in rollouts}),
        rollouts=len(rollouts),
        masked=sum(bool(one.masked) for one in rollouts),
        truncated=sum(one.stop_reason == "length" for one in rollouts),
        mean_reward=sum(rewards) / len(rewards) if rewards else None,
        bytes=size,
    )


def store_step(
    run: Run,
    step: int,
    rollouts: Sequence[StoredRollout],
    *,
    data: bytes | None = None,
    calls: Sequence[StoredToolCall] = (),
) -> RolloutFile:
    """The files in the directory of the newest attempt, their row and the event. `data` stands for one that differs."""
    attempt = run.attempts.last()
    assert attempt is not None
    data = pack(rollouts) if data is None else data
    event = stored_event(step, rollouts, size=len(data))
    path = Path(attempt.directory) / event.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    tell(run, "rollouts_stored", **event.model_dump(exclude={"type"}))
    Attempt.objects.filter(pk=attempt.pk).update(started=attempt.started or attempt.queued)
    fields = event.model_dump(exclude={"type"})
    if calls:
        fields["calls_path"] = f"tool_calls/step-{step:08d}.jsonl.zst"
        place = Path(attempt.directory) / fields["calls_path"]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(pack(calls))
    return RolloutFile.objects.create(attempt=attempt, **fields)
