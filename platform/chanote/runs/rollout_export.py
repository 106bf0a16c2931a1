"""Rollouts as JSON lines for other programs: with step, attempt and tool calls, and personal data masked."""

import json
from collections.abc import Iterator
from io import BytesIO
from itertools import groupby
from typing import IO, Any

import zstandard

from chanote.checks.masking import Mask
from chanote.runs.models import RolloutFile, Run
from chanote.runs.rollout_files import CallsUnreadable, StoredRollouts, read_at, read_step_calls
from chanote.runs.rollout_list import RolloutList, RolloutWish
from chanote.runs.rollout_masks import find_mask_of_run, mask_call, mask_rollout
from trainer.contract.rollouts import StoredRollout

HEAVY = {"prompt", "tokens", "ids", "trained", "logprobs"}
"""Fields with an entry for each token."""


def export_rollouts(run: Run, wish: RolloutWish, *, tokens: bool = True) -> Iterator[str]:
    """The rollouts that the wish admits, step after step, one JSON object in a line; a step's calls in memory."""
    rows = RolloutList(run, wish).rows.order_by("step", "file_id", "offset")
    mask = find_mask_of_run(run)
    places = rows.values_list("file_id", "group", "index", "offset").iterator(chunk_size=2000)
    for file_id, of_file in groupby(places, key=lambda one: one[0]):
        file = RolloutFile.objects.select_related("attempt__run").get(pk=file_id)
        wanted = {offset: f"{group}.{index}" for _, group, index, offset in of_file}
        calls = group_calls(file, mask)
        for stored in read_at(file, wanted):
            whole = tell_rollout(
                file, mask_rollout(stored, mask), calls.get(f"{stored.group}.{stored.index}", []), tokens=tokens
            )
            yield json.dumps(whole, ensure_ascii=False) + "\n"


def write_masked(file: RolloutFile, mask: Mask) -> IO[bytes] | None:
    """The file of a step again with what is masked in it, packed as it is; None where nothing of it is."""
    stored = StoredRollouts(file)
    masked = [(one, mask_rollout(one, mask)) for one in stored]
    if all(one == shown for one, shown in masked):
        return None
    lines = b"".join(shown.model_dump_json().encode() + b"\n" for _, shown in masked)
    return BytesIO(zstandard.ZstdCompressor().compress(lines))


def group_calls(file: RolloutFile, mask: Mask) -> dict[str, list[dict[str, Any]]]:
    """The calls of a step by the place of their rollout; those that can be read."""
    found: dict[str, list[dict[str, Any]]] = {}
    try:
        for told in read_step_calls(file):
            call = mask_call(told, mask)
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
