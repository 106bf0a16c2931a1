"""Rollouts as JSON lines for other programs: as the trainer stored them, with step, attempt and tool calls."""

import json
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from chanote.runs.models import RolloutFile, Run
from chanote.runs.rollout_files import CallsUnreadable, read_at, read_step_calls
from chanote.runs.rollout_list import RolloutList, RolloutWish
from trainer.contract.rollouts import StoredRollout

HEAVY = {"prompt", "tokens", "ids", "trained", "logprobs"}
"""Fields with an entry for each token."""


def export_rollouts(run: Run, wish: RolloutWish, *, tokens: bool = True) -> Iterator[str]:
    """The rollouts that the wish admits, step after step, one JSON object in a line; a step's calls in memory."""
    rows = RolloutList(run, wish).rows.order_by("step", "file_id", "offset")
    places = rows.values_list("file_id", "group", "index", "offset").iterator(chunk_size=2000)
    for file_id, of_file in groupby(places, key=lambda one: one[0]):
        file = RolloutFile.objects.select_related("attempt__run").get(pk=file_id)
        wanted = {offset: f"{group}.{index}" for _, group, index, offset in of_file}
        calls = group_calls(file)
        for stored in read_at(file, wanted):
            whole = tell_rollout(file, stored, calls.get(f"{stored.group}.{stored.index}", []), tokens=tokens)
            yield json.dumps(whole, ensure_ascii=False) + "\n"


def group_calls(file: RolloutFile) -> dict[str, list[dict[str, Any]]]:
    """The calls of a step by the place of their rollout; those that can be read."""
    found: dict[str, list[dict[str, Any]]] = {}
    try:
        for call in read_step_calls(file):
            found.setdefault(call.rollout, []).append(call.model_dump(mode="json", exclude={"step", "rollout"}))
    except CallsUnreadable:
        return found
    return found


def tell_rollout(
    file: RolloutFile, stored: StoredRollout, calls: list[dict[str, Any]], *, tokens: bool
) -> dict[str, Any]:
    # By way of JSON, which has null for what is no finite number.
    told: dict[str, Any] = json.loads(stored.model_dump_json(exclude=set() if tokens else HEAVY))
    return {"step": file.step, "attempt": file.attempt.number, **told, "calls": calls}
