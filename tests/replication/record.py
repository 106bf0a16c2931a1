"""Running an experiment over its seeds, and keeping what came out."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.replication.bases import open_family
from tests.replication.runs import RESULTS, Scores
from tests.trainer_runs import REPOSITORY

KEPT = REPOSITORY / "docs" / "replication"
"""Results that the tables of docs/replication.md are made of."""


def run_experiment(
    name: str, run_family: Callable[[int], Scores], seeds: Sequence[int], settings: Any
) -> dict[str, Scores]:
    """Every arm for every seed; written to build/replication/<name>.json after each seed."""
    by_seed: dict[str, Scores] = {}
    for seed in seeds:
        by_seed[str(seed)] = {"made": open_family(seed).record, **run_family(seed)}
        write_record(RESULTS / f"{name}.json", asdict(settings), by_seed)
    return by_seed


def write_record(path: Path, settings: dict[str, Any], by_seed: dict[str, Scores]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f'"settings": {json.dumps(settings)}', '"seeds": {']
    families = []
    for seed, scores in by_seed.items():
        arms = ",\n".join(f"  {json.dumps(arm)}: {json.dumps(values)}" for arm, values in scores.items())
        families.append(f'"{seed}": {{\n{arms}\n}}')
    path.write_text("{\n" + ",\n".join([lines[0], lines[1] + "\n" + ",\n".join(families) + "\n}"]) + "\n}\n")


def read_kept(name: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((KEPT / f"{name}.json").read_text(encoding="utf-8"))
    return record
