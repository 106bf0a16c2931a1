"""Looking through the files of rollouts, each once: what the inbox picks, and where each prompt was sampled.

That is done when somebody asks, the newest steps first and for a limited time; what was found is kept. A file that an
event tells anew, a change of the rules, and calls that were stored later have a file looked through again.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from time import monotonic

from django.db import IntegrityError, transaction
from django.db.models import Count, F, Q, QuerySet
from django.utils import timezone

from chanote.accounts.models import Project
from chanote.checks.masking import Mask
from chanote.review.models import Pick, SiftedStep, StoredPrompt
from chanote.review.rules import EDITION, OddRollout, SeenCall, SeenRollout, is_number, pick_odd, read_components
from chanote.runs.lineage import find_rollout_files
from chanote.runs.models import RolloutFile, Run, RunEvent
from chanote.runs.rollout_files import StoredRollouts
from chanote.runs.rollout_masks import find_mask_of_run
from chanote.runs.rollout_words import excerpt, excerpt_question
from chanote.tools.calls import clean
from chanote.tools.models import ToolCall
from trainer.contract.rollouts import StoredRollout

SECONDS = 1.0
"""For looking through files within one request; at least one file is always looked through."""
MOST_READ = 20_000
"""Characters of an answer whose beginning is kept."""
MOST_LOOKED_AT = 20_000
"""Rollouts of one step that are looked at, so that memory stays bounded."""
AT_ONCE = 500
"""Files that one request looks through at most."""
UNSETTLED_AGAIN = timedelta(seconds=5)
FAULTY_AGAIN = timedelta(minutes=10)
MOST = 2**31 - 1
THOUGHTS = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
CONTROL = re.compile(r"<\|[^|>]{0,60}\|>")


@dataclass(frozen=True)
class Progress:
    """How far the files of a project or a run were looked through."""

    total: int
    waiting: int

    @property
    def looked(self) -> int:
        return self.total - self.waiting


def sift_project(project: Project, *, run: Run | None = None, seconds: float = SECONDS) -> Progress:
    """Look through files that were not yet, for at most about `seconds`, those of `run` first; how far that came."""
    until = monotonic() + seconds
    files = RolloutFile.objects.filter(attempt__run__project=project)
    due = list(find_due(files.filter(attempt__run=run)).values_list("pk", flat=True)[:AT_ONCE]) if run else []
    due += find_due(files).values_list("pk", flat=True)[:AT_ONCE]
    for key in dict.fromkeys(due):
        if file := files.filter(pk=key).select_related("attempt__run").first():
            sift(file)
        if monotonic() > until:
            break
    mark_current(project)
    return Progress(files.count(), find_due(files).count())


def find_due(files: QuerySet[RolloutFile]) -> QuerySet[RolloutFile]:
    now = timezone.now()
    due = (
        Q(sifted=None)
        | ~Q(sifted__rules=EDITION)
        | ~Q(sifted__bytes=F("bytes"))
        | ~Q(sifted__rollouts=F("rollouts"))
        | Q(sifted__settled=False, sifted__at__lt=now - UNSETTLED_AGAIN)
        | (~Q(sifted__fault="") & Q(sifted__at__lt=now - FAULTY_AGAIN))
    )
    return files.filter(due).order_by("-pk")


def mark_current(project: Project) -> None:
    """Steps that a later attempt left behind when it went on from an earlier checkpoint are no longer of the run."""
    began = Count("attempts", filter=Q(attempts__started__isnull=False))
    for run in Run.objects.filter(project=project).annotate(began=began).filter(began__gt=1):
        counted = find_rollout_files(run).values("pk")
        steps = SiftedStep.objects.filter(run=run)
        for wrong, right in (
            (steps.filter(current=True).exclude(file__in=counted), False),
            (steps.filter(current=False, file__in=counted), True),
        ):
            if places := list(wrong.values_list("pk", flat=True)):
                SiftedStep.objects.filter(pk__in=places).update(current=right)


def sift(file: RolloutFile) -> None:
    """Look through one file and keep what was found in place of what was found before."""
    run = file.attempt.run
    settled = is_settled(file)
    calls = read_calls(file)
    rollouts = StoredRollouts(file)
    seen: list[SeenRollout] = []
    texts: dict[tuple[int, int], tuple[str, str]] = {}
    rows: dict[int, str] = {}
    for rollout in islice(rollouts, MOST_LOOKED_AT):
        if rollout.group > MOST or rollout.index > MOST:
            continue
        place = (rollout.group, rollout.index)
        seen.append(see_rollout(rollout, calls.get(f"{rollout.group}.{rollout.index}", [])))
        texts[place] = ("".join(rollout.prompt), read_answer(rollout)[:MOST_READ])
        rows.setdefault(rollout.group, rollout.row)
    judges, exact = read_components(run.snapshot, file.stage)
    odd = pick_odd(seen, judges=judges, exact=exact)
    try:
        with transaction.atomic():
            SiftedStep.objects.filter(file=file).delete()
            sifted = SiftedStep.objects.create(
                file=file,
                run=run,
                attempt=file.attempt.number,
                step=file.step,
                rules=EDITION,
                bytes=file.bytes,
                rollouts=file.rollouts,
                settled=settled,
                fault=clean(rollouts.fault),
            )
            mask = find_mask_of_run(run)
            Pick.objects.bulk_create(_make_pick(sifted, one, texts, mask) for one in odd)
            StoredPrompt.objects.bulk_create(_list_prompts(sifted, seen, rows), batch_size=500)
    except IntegrityError:
        # Somebody else looked through it at the same time, or the file's row has just gone: what they found stands.
        return


def is_settled(file: RolloutFile) -> bool:
    """Whether the tool calls of the step are stored: they come a moment after the rollouts."""
    attempt = file.attempt
    due = RunEvent.objects.filter(attempt=attempt, type="tool_calls_stored", seq__gte=attempt.effects_seq)
    if due.exists():
        return False
    return attempt.ended is not None or RolloutFile.objects.filter(attempt=attempt, step__gt=file.step).exists()


def read_calls(file: RolloutFile) -> dict[str, list[SeenCall]]:
    """Calls of the step by the trajectory that made them, in their order."""
    made = ToolCall.objects.filter(run=file.attempt.run, step=file.step)
    made = made.filter(Q(attempt=file.attempt) | Q(attempt=None)).order_by("turn", "id")
    calls: dict[str, list[SeenCall]] = defaultdict(list)
    for call in made.only("rollout", "tool", "arguments", "arguments_characters", "status").iterator():
        arguments = None if call.are_arguments_cut else call.arguments
        calls[call.rollout].append(SeenCall(call.tool, arguments, call.status))
    return calls


def see_rollout(rollout: StoredRollout, calls: Sequence[SeenCall]) -> SeenRollout:
    return SeenRollout(
        group=rollout.group,
        index=rollout.index,
        prompt=hash_prompt(rollout),
        reward=rollout.reward,
        rewards=rollout.rewards,
        # What tools answered says nothing about the policy.
        tokens=sum(rollout.trained) or len(rollout.tokens),
        answer=read_answer(rollout),
        reference=rollout.reference,
        calls=tuple(calls),
    )


def hash_prompt(rollout: StoredRollout) -> str:
    """Of the text, however it fell into tokens."""
    return hashlib.sha256("".join(rollout.prompt).encode("utf-8", "replace")).hexdigest()


def read_answer(rollout: StoredRollout) -> str:
    """What was said in the end, without thoughts and control tokens."""
    return CONTROL.sub("", THOUGHTS.sub("", rollout.text)).strip()


def _make_pick(sifted: SiftedStep, odd: OddRollout, texts: dict[tuple[int, int], tuple[str, str]], mask: Mask) -> Pick:
    # Masked before they are cut: half a number is a number too.
    prompt, written = texts[odd.seen.group, odd.seen.index]
    question, answer = excerpt_question(mask.apply(prompt)), excerpt(mask.apply(written))
    return Pick(
        sifted=sifted,
        run=sifted.run,
        attempt=sifted.attempt,
        step=sifted.step,
        group=odd.seen.group,
        index=odd.seen.index,
        reward=odd.seen.reward or 0.0,
        tokens=odd.seen.tokens,
        question=clean(question),
        answer=clean(answer),
        reasons=[{"rule": one.rule, "words": clean(mask.apply(one.words))} for one in odd.reasons],
        rules=f",{','.join(sorted(one.rule for one in odd.reasons))},",
        oddness=odd.oddness,
    )


def _list_prompts(sifted: SiftedStep, seen: Sequence[SeenRollout], rows: dict[int, str]) -> list[StoredPrompt]:
    groups: dict[int, list[SeenRollout]] = defaultdict(list)
    for one in seen:
        groups[one.group].append(one)
    found = []
    for group, rollouts in groups.items():
        valued = [one for one in rollouts if is_number(one.reward)]
        rewards = [one.reward or 0.0 for one in valued]
        best = max(valued, key=lambda one: (one.reward or 0.0, -one.index), default=rollouts[0])
        found.append(
            StoredPrompt(
                sifted=sifted,
                run=sifted.run,
                step=sifted.step,
                group=group,
                row=clean(rows[group])[:200],
                sha256=rollouts[0].prompt,
                rollouts=len(rollouts),
                mean_reward=sum(rewards) / len(rewards) if rewards else None,
                best=best.index,
            )
        )
    return found
