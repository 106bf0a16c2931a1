"""From a version of a dataset and some checks to their results.

Rows pass once, in blocks; what is known of a block already is not looked for again. Then each check concludes from its
parts. Memory stays what a few blocks take, and some dozen bytes a row.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from chanote.audit.services import record
from chanote.checks.base import Check, Outcome, Part
from chanote.checks.block import Block, cut_blocks
from chanote.checks.checkers import CHECKS
from chanote.checks.findings import count_rows, keep_detail, keep_findings
from chanote.checks.gathering import GATHERERS, Gathered
from chanote.checks.looking import Plan, open_lookers
from chanote.checks.models import CheckResult, CheckSettings
from chanote.checks.parts import hash_json, mark_used, part_path, prune, read_part
from chanote.datasets.models import DatasetVersion
from chanote.datasets.storage import open_lines

Report = Callable[[int, int, str], None]
FEW_ROWS = 3000
"""Versions with fewer rows are looked at in one process: starting another takes a second."""
PROCESSES = 2
BlockPlace = tuple[int, int, str]
"""First row (from 0), rows and hash."""


def say_nothing(done: int, total: int, words: str) -> None:
    pass


def run_checks(
    version: DatasetVersion,
    names: Sequence[str],
    *,
    actor: Any,
    scratch: Path,
    report: Report = say_nothing,
    processes: int = PROCESSES,
) -> list[CheckResult]:
    """Run the named checks; each result is stored as soon as it is there. A result with the same key is not made anew.

    `scratch` is an empty folder for the while. What `report` raises ends the work; what was found by then is kept.
    """
    plans = plan_checks(version, names)
    results = {plan.name: find_known(version, plan, actor) for plan in plans}
    left = [plan for plan in plans if results[plan.name] is None]
    reading = [plan for plan in left if CHECKS[plan.name].reads_rows]
    parts = Path(settings.HOME) / "checks" / "parts"
    started = time.monotonic()
    blocks = _look(version, reading, parts, scratch, report, processes)
    looked = time.monotonic() - started
    for plan in left:
        report(version.rows, version.rows, f"concluding: {CHECKS[plan.name].title.lower()}")
        started = time.monotonic()
        folder = scratch / plan.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        check = plan.build()
        outcome = check.conclude(_read_parts(version, plan, check, blocks, parts), folder)
        shutil.rmtree(folder)
        seconds = time.monotonic() - started + (looked / len(reading) if plan in reading else 0)
        results[plan.name] = keep_result(version, plan, outcome, seconds, actor)
    if reading:
        prune(parts)
    return [result for plan in plans if (result := results[plan.name]) is not None]


def plan_checks(version: DatasetVersion, names: Sequence[str]) -> list[Plan]:
    set_here = dict(
        CheckSettings.objects.filter(project=version.project, check_name__in=names).values_list(
            "check_name", "configuration"
        )
    )
    gathered: dict[str, Gathered] = {}
    plans = []
    for name in names:
        check = CHECKS[name]
        for need in check.needs:
            gathered.setdefault(need, GATHERERS[need](version))
        chosen = check.settings_class.model_validate(set_here.get(name, {})).model_dump(mode="json")
        needs = sorted(check.needs)
        against = {key: value for need in needs for key, value in gathered[need].against.items()}
        folder = next((gathered[need].folder for need in needs if gathered[need].folder), "")
        key = hash_json(
            [name, check.version, chosen, [gathered[need].identity for need in needs], version.dataset.kind]
        )
        plans.append(Plan(name, key, chosen, against, folder))
    return plans


def result_key(version: DatasetVersion, plan: Plan) -> str:
    return hash_json([version.sha256, plan.key])


@transaction.atomic
def find_known(version: DatasetVersion, plan: Plan, actor: Any) -> CheckResult | None:
    """The result with this key; one of another version with the very same rows is taken over."""
    key = result_key(version, plan)
    own = CheckResult.objects.filter(version=version, check_name=plan.name, key=key).first()
    if own:
        return own
    other = CheckResult.objects.filter(key=key, check_name=plan.name).first()
    if other is None:
        return None
    other.pk, other.version, other.created_by = None, version, actor
    other._state.adding = True
    other.save()
    _tell(other, actor, taken_over=True)
    return other


def _look(
    version: DatasetVersion, plans: list[Plan], parts: Path, scratch: Path, report: Report, processes: int
) -> list[BlockPlace]:
    blocks: list[BlockPlace] = []
    if not plans:
        return blocks
    known = 0
    used = processes if version.rows >= FEW_ROWS else 1
    with open_lookers(plans, version.dataset.kind, parts, scratch, used) as lookers:
        for first, lines, block_hash in cut_blocks(open_lines(version)):
            blocks.append((first, len(lines), block_hash))
            missing = [plan.key for plan in plans if not mark_used(part_path(parts, plan.key, block_hash))]
            if missing:
                lookers.look(lines, block_hash, missing)
            else:
                known += len(lines)
            report(lookers.rows + known, version.rows, "looking at rows")
        lookers.finish()
    return blocks


def _read_parts(
    version: DatasetVersion, plan: Plan, check: Check, blocks: list[BlockPlace], parts: Path
) -> Iterator[tuple[int, Part]]:
    if not check.reads_rows:
        return
    for first, rows, block_hash in blocks:
        part = read_part(part_path(parts, plan.key, block_hash))
        # Somebody may have made room in the meantime.
        yield first, part or check.look(Block(version.dataset.kind, list(open_lines(version, first, first + rows))))


def keep_result(version: DatasetVersion, plan: Plan, outcome: Outcome, seconds: float, actor: Any) -> CheckResult:
    check = CHECKS[plan.name]
    codes = {place for place, code in enumerate(check.finds) if code not in check.facts}
    values = {
        "check_version": check.version,
        "configuration": plan.settings,
        "rows": version.rows,
        "found_rows": min(count_rows(outcome.found, codes), version.rows),
        "counts": outcome.counts,
        "samples": [{**sample, "row": sample["row"] + 1} for sample in outcome.samples],
        "findings_sha256": keep_findings(outcome.found),
        "detail_sha256": keep_detail(outcome.detail),
        "seconds": round(seconds, 3),
        "created_by": actor,
    }
    with transaction.atomic():
        result, made = CheckResult.objects.get_or_create(
            version=version, check_name=plan.name, key=result_key(version, plan), defaults=values
        )
        if made:
            _tell(result, actor)
    return result


def _tell(result: CheckResult, actor: Any, **more: Any) -> None:
    record(
        "dataset.checked",
        result.version,
        actor=actor,
        check=result.check_name,
        checker=result.check_version,
        found_rows=result.found_rows,
        **more,
    )
