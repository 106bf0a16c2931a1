"""From the files of rollouts to the rows that lists, filters and search read: each rollout once, however often it is
tried, and on from where a try ended."""

import hashlib
import math
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from django.db import IntegrityError, OperationalError, transaction
from django.db.models import QuerySet

from chanote.runs.models import Attempt, RolloutFile, RolloutPrompt, RolloutRow, RolloutText, Run
from chanote.runs.rollout_files import CallsUnreadable, StoredRollouts, read_step_calls
from chanote.runs.rollout_masks import find_mask_of_run, mask_rollout
from chanote.runs.rollout_search import add_texts, fold
from chanote.runs.rollout_words import CUT, excerpt, excerpt_question
from trainer.contract.rollouts import StoredRollout

AT_ONCE = 100
"""Rollouts of one transaction; SQLite lets nobody else write meanwhile."""
REJECTED = "rejected"
"""Status of calls that failed because of how the policy wrote them."""
LARGEST = 2**31 - 1
TRIES = 3


@dataclass(frozen=True)
class CallCount:
    """Of one rollout."""

    calls: int = 0
    rejected: int = 0
    failed: int = 0


def list_missing(files: QuerySet[RolloutFile], *, seconds: float = math.inf) -> int:
    """Make the rows that are missing of these files, the first step first; how many files still lack some then."""
    end = time.monotonic() + seconds
    missing = files.filter(listed=False).select_related("attempt__run").order_by("step")
    try:
        for file in missing.iterator(chunk_size=50):
            if time.monotonic() >= end or not list_file(file, end=end):
                return missing.count()
    except OperationalError:
        # Somebody else writes for long: who reads the list gets what is there.
        return missing.count()
    return 0


def list_file(file: RolloutFile, *, end: float = math.inf) -> bool:
    """Make the rows of a step that are missing. False when the (monotonic) time was over before all were made."""
    if file.listed:
        return True
    counts, fault = count_calls(file)
    stored = StoredRollouts(file)
    # A search that found what is masked would tell a number digit by digit.
    mask = find_mask_of_run(file.attempt.run)
    known = set(RolloutRow.objects.filter(file=file).values_list("group", "index"))
    fresh = ((offset, one) for offset, one in stored.with_offsets() if (one.group, one.index) not in known)
    left = _once(fresh)
    while batch := [(offset, mask_rollout(one, mask)) for offset, one in islice(left, AT_ONCE)]:
        _store(file, batch, counts)
        if time.monotonic() >= end:
            return False
    # A file that is not there may come back, with the disk that it is on.
    RolloutFile.objects.filter(pk=file.pk).update(
        listed=not stored.is_gone, calls_listed=bool(file.calls_path), fault=stored.fault or fault
    )
    file.listed, file.fault = True, stored.fault or fault
    return True


def list_step(attempt: Attempt, step: int) -> None:
    """Make the rows of a step that an attempt told of."""
    file = RolloutFile.objects.filter(attempt=attempt, step=step).select_related("attempt__run").first()
    if file is not None:
        list_file(file)


def note_calls(attempt: Attempt, step: int) -> None:
    """Tell the rows of a step how many calls their rollouts made, where they were made before that was known."""
    file = RolloutFile.objects.filter(attempt=attempt, step=step).select_related("attempt__run").first()
    if file is None or not file.listed or file.calls_listed:
        return
    counts, fault = count_calls(file)
    rows = list(RolloutRow.objects.filter(file=file))
    for row in rows:
        count = counts[f"{row.group}.{row.index}"]
        row.calls, row.rejected_calls, row.failed_calls = count.calls, count.rejected, count.failed
    with transaction.atomic():
        RolloutRow.objects.bulk_update(rows, ["calls", "rejected_calls", "failed_calls"], batch_size=AT_ONCE)
        RolloutFile.objects.filter(pk=file.pk).update(calls_listed=True, fault=file.fault or fault)


def count_calls(file: RolloutFile) -> tuple[dict[str, CallCount], str]:
    """By place of the rollout, with what is wrong with the file of calls."""
    found: dict[str, list[str]] = defaultdict(list)
    fault = ""
    try:
        for call in read_step_calls(file):
            found[call.rollout].append(call.status)
    except CallsUnreadable as error:
        fault = f"The tool calls of step {file.step:,} are not all known: {error}."
    counts = defaultdict(CallCount)
    for place, statuses in found.items():
        rejected, good = statuses.count(REJECTED), statuses.count("ok")
        counts[place] = CallCount(len(statuses), rejected, len(statuses) - rejected - good)
    return counts, fault


def _once(rollouts: Iterable[tuple[int, StoredRollout]]) -> Iterator[tuple[int, StoredRollout]]:
    """Of a place told twice the first; what no column can hold is left out."""
    seen: set[tuple[int, int]] = set()
    for offset, one in rollouts:
        place = (one.group, one.index)
        if place not in seen and max(place) <= LARGEST:
            seen.add(place)
            yield offset, one


def _store(file: RolloutFile, told: list[tuple[int, StoredRollout]], counts: dict[str, CallCount]) -> None:
    """Rows and texts of some rollouts, all or none. What another process stores at the same time is stored once."""
    for left in range(TRIES, 0, -1):
        try:
            with transaction.atomic():
                known = set(RolloutRow.objects.filter(file=file).values_list("group", "index"))
                fresh = [(offset, one) for offset, one in told if (one.group, one.index) not in known]
                prompts = _find_prompts(file.attempt.run, [one for _, one in fresh])
                rows = [_make_row(file, one, offset, prompts, counts) for offset, one in fresh]
                RolloutRow.objects.bulk_create(rows)
                texts = [
                    RolloutText(rollout=row, body=fold(list_words(one)))
                    for row, (_, one) in zip(rows, fresh, strict=True)
                ]
                add_texts(RolloutText, texts)
            return
        except IntegrityError:
            if left == 1:
                raise


def _find_prompts(run: Run, rollouts: list[StoredRollout]) -> dict[str, RolloutPrompt]:
    """Their prompts by text; those that the run has not had yet are stored."""
    texts = {"".join(one.prompt) for one in rollouts}
    digests = {hashlib.sha256(text.encode("utf-8", "replace")).hexdigest(): text for text in texts}
    known = set(RolloutPrompt.objects.filter(run=run, digest__in=digests).values_list("digest", flat=True))
    fresh = [
        RolloutPrompt(run=run, digest=digest, question=clean(excerpt_question(text)), body=fold(text))
        for digest, text in sorted(digests.items())
        if digest not in known
    ]
    if fresh:
        add_texts(RolloutPrompt, fresh)
    found = RolloutPrompt.objects.filter(run=run, digest__in=digests).defer("body")
    return {digests[one.digest]: one for one in found}


def _make_row(
    file: RolloutFile,
    one: StoredRollout,
    offset: int,
    prompts: dict[str, RolloutPrompt],
    counts: dict[str, CallCount],
) -> RolloutRow:
    count = counts[f"{one.group}.{one.index}"]
    return RolloutRow(
        run_id=file.attempt.run_id,
        file=file,
        attempt=file.attempt.number,
        step=file.step,
        group=one.group,
        index=one.index,
        prompt=prompts["".join(one.prompt)],
        row=clean(one.row)[:200],
        answer=clean(excerpt(one.text or last_words(one))),
        tokens=len(one.tokens),
        turns=len(one.turns) or 1,
        calls=count.calls,
        rejected_calls=count.rejected,
        failed_calls=count.failed,
        reward=finite(one.reward),
        advantage=finite(one.advantage),
        detail=finite(next((value for value in one.detail.values() if isinstance(value, float)), None)),
        stop_reason=clean(one.stop_reason)[:30],
        cut=one.stop_reason in CUT,
        masked=bool(one.masked),
        offset=offset,
    )


def list_words(one: StoredRollout) -> str:
    """What is searched: all that the policy wrote, the reference, the row and why it is masked."""
    if not one.turns:
        written = [one.text]
    else:
        written = ["".join(one.tokens[start:end]) for start, end in one.turns]
    return "\n".join([one.reference, one.row, one.masked, *written])


def last_words(one: StoredRollout) -> str:
    """What the policy wrote last, for one that ended without an answer."""
    start, end = one.turns[-1] if one.turns else (0, 0)
    return "".join(one.tokens[start:end])


def finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def clean(text: str) -> str:
    """Text that every database takes."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
