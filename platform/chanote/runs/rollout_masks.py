"""Rollouts as people may see them: personal data masked, whether it came from a row, a tool or the policy.

A policy repeats what it learned from, so what it writes is masked by the checks of the versions that its run names, and
by the form of numbers and addresses in any case. Training, labels and the files of the trainer keep the words.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from django.db import transaction

from chanote.accounts.roles import require
from chanote.audit.services import record
from chanote.checks.masking import Mask, check_reason, find_mask_of_writing
from chanote.checks.personal.finding import MARKS, find_personal
from chanote.checks.personal.patterns import KINDS
from chanote.datasets.models import DatasetVersion
from chanote.runs.models import Run
from chanote.web.numbers import read_key
from trainer.contract.rollouts import StoredRollout
from trainer.contract.tool_calls import StoredToolCall


def find_mask_of_run(run: Run) -> Mask:
    """What of the run's rollouts is covered: ask once for a page."""
    corpus = (run.snapshot.get("toolset") or {}).get("corpus") or {}
    names = [str(name) for name in [*(run.snapshot.get("datasets") or {}), corpus.get("dataset", "")]]
    wanted = {(slug, read_key(number)) for slug, _, number in (name.partition("@") for name in names)}
    versions = DatasetVersion.objects.filter(
        dataset__project=run.project_id, dataset__slug__in={slug for slug, _ in wanted}
    )
    return find_mask_of_writing(
        one for one in versions.select_related("dataset") if (one.dataset.slug, one.number) in wanted
    )


def mask_rollout(stored: StoredRollout, mask: Mask) -> StoredRollout:
    """The rollout with every text of it masked. Tokens keep their number and figures; where some of them are covered
    their ids go, which would tell them."""
    prompt, tokens = mask_tokens(stored.prompt, mask), mask_tokens(stored.tokens, mask)
    changed: dict[str, Any] = {
        "prompt": prompt,
        "tokens": tokens,
        "text": mask.apply(stored.text),
        "reference": mask.apply(stored.reference),
        "masked": mask.apply(stored.masked),
        "words": mask.apply(stored.words),
        "detail": {name: mask.apply(one) if isinstance(one, str) else one for name, one in stored.detail.items()},
    }
    if tokens != stored.tokens:
        changed["ids"] = []
    return stored.model_copy(update={name: value for name, value in changed.items() if value != getattr(stored, name)})


def mask_tokens(tokens: Sequence[str], mask: Mask) -> list[str]:
    """What is covered is found in the tokens together; the first of its tokens says so, the others of it are empty."""
    text = "".join(tokens)
    hits = find_personal(text, mask.kinds, mask.names) if mask else []
    if not hits:
        return list(tokens)
    ends = list(accumulate(map(len, tokens)))
    shown, place = list(tokens), 0
    for hit in hits:
        while ends[place] <= hit.start:
            place += 1
        word = f"{MARKS[0]}{KINDS[hit.kind]}{MARKS[1]}"
        at = place
        while at < len(tokens) and (start := ends[at] - len(tokens[at])) < hit.stop:
            # Offsets from the end of the token hold although an earlier hit may have changed its beginning.
            behind = ends[at] - hit.stop
            before = shown[at][: len(shown[at]) - (ends[at] - hit.start)] if start < hit.start else ""
            after = tokens[at][len(tokens[at]) - behind :] if behind > 0 else ""
            shown[at] = f"{before}{word if at == place else ''}{after}"
            at += 1
    return shown


def mask_call(call: StoredToolCall, mask: Mask) -> StoredToolCall:
    covered = {"arguments": mask.apply(call.arguments), "output": mask.apply(call.output)}
    return call.model_copy(update=covered)


@transaction.atomic
def unmask_rollout(run: Run, *, step: int, group: int, index: int, reason: str, actor: Any) -> None:
    """Write down that somebody sees a rollout as it is stored, and why. Raises UnmaskRefused, PermissionDenied."""
    require(actor, "datasets.change", run.project)
    reason = check_reason(reason)
    record("rollout.unmasked", run, actor=actor, step=step, group=group, index=index, reason=reason)
