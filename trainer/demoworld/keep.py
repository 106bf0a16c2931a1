"""Keep a finished pretraining run as the demo's base model: its files, what made it, and what it can do."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trainer.contract import RunSpec
from trainer.contract.hashing import hash_directory
from trainer.demoworld.gates import (
    COPY_BY_POSITION,
    NEIGHBOUR_EXACT,
    TWO_FACTS_EXACT,
    Gates,
)

LARGEST_BYTES = 8_000_000


class NotKept(Exception):
    """The run left no model worth keeping; the message says why."""


def find_finished_model(attempt: Path) -> Path:
    """Model directory of the last checkpoint of a run whose last stage is done."""
    manifests = sorted(attempt.glob("checkpoints/step-*/manifest.json"))
    finished = [path for path in manifests if json.loads(path.read_bytes())["stage_finished"]]
    if not finished:
        raise NotKept(f"{attempt} holds no checkpoint of a finished stage; let `python -m trainer run` finish")
    return finished[-1].parent / "model"


def keep_model(attempt: Path, target: Path, gates: Gates) -> str:
    """Copy the model to `target/model`, write `made.json` and `README.md` beside it, and return the model's hash."""
    if missed := gates.failures():
        raise NotKept("gates missed: " + "; ".join(missed))
    model = find_finished_model(attempt)
    size = sum(path.stat().st_size for path in model.iterdir())
    if size > LARGEST_BYTES:
        raise NotKept(f"the model has {size} bytes, more than the {LARGEST_BYTES} that the repository takes")
    spec = RunSpec.model_validate_json((attempt / "run.json").read_bytes())
    started = _first_event(attempt, "attempt_started")
    made: dict[str, Any] = {
        "model_sha256": hash_directory(model),
        "bytes": size,
        "parameters": _first_event(attempt, "stage_started")["notes"].get("parameters"),
        "corpora": {
            name: {"documents": file.rows, "sha256": file.sha256} for name, file in sorted(spec.datasets.items())
        },
        "recipe": spec.recipe.model_dump(mode="json"),
        "packages": started["packages"],
        "device": started["device"],
        "threads": started["threads"],
        "gates": asdict(gates),
    }
    target.mkdir(parents=True, exist_ok=True)
    if (target / "model").exists():
        shutil.rmtree(target / "model")
    shutil.copytree(model, target / "model", copy_function=shutil.copyfile)
    (target / "made.json").write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
    (target / "README.md").write_text(_describe(made), encoding="utf-8")
    return str(made["model_sha256"])


def _first_event(attempt: Path, kind: str) -> dict[str, Any]:
    with (attempt / "events.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            event: dict[str, Any] = json.loads(line)["event"]
            if event["type"] == kind:
                return event
    raise NotKept(f"{attempt}/events.jsonl tells of no {kind}")


def _describe(made: dict[str, Any]) -> str:
    stages = "; ".join(
        f"{stage['name']}: {stage['steps']:,} steps of {stage['batch_size']} × {stage['sequence_length']} tokens"
        for stage in made["recipe"]["stages"]
    )
    corpora = "; ".join(
        f"{name}: {corpus['documents']:,} documents, sha256 `{corpus['sha256']}`"
        for name, corpus in made["corpora"].items()
    )
    rows = []
    for group, readings in (
        ("open book", made["gates"]["open_book"]),
        ("closed book, neighbour's code", made["gates"]["neighbour"]),
    ):
        for key, reading in readings.items():
            language, _, kind = key.partition("-")
            statutes, _, alike = kind.partition("-")
            asked = group + (f", statutes: {statutes}" if statutes else "") + (", same attribute" if alike else "")
            worst = min(reading["by_position"])
            rows.append(f"| {asked} | {language} | {reading['count']} | {reading['exact']:.3f} | {worst:.3f} |")
    packages = ", ".join(f"{name} {version}" for name, version in sorted(made["packages"].items()))
    return f"""# demo-base

The base model that the demo continues from: `model/` is a Hugging Face checkpoint, which plain transformers loads.
What its world is, and why it reads: `docs/demo.md`.

| | |
|---|---|
| made by | `make demo-base`: recipe `trainer/demoworld/recipes/demo-base.yaml`, seed {made["recipe"]["seed"]} |
| hash of `model/` | `{made["model_sha256"]}` |
| corpora, written by the same command | {corpora} |
| training | {stages} |
| size | {made["parameters"]:,} parameters, {made["bytes"]:,} bytes |
| software | {packages}; {made["device"]}, {made["threads"]} thread |
| licence | CC0-1.0 |

## What it can do

Measured on statutes drawn afresh, on names that pretraining never made a law of, half of the questions as plain text
and half as a chat. Every answer token is predicted with the right ones before it. *Exact*: all tokens right. *Worst
position*: share of right tokens at the answer's worst position. *Same attribute*: only the law's name tells the
statutes apart; else they set different attributes. Gates: two statutes exact at least {TWO_FACTS_EXACT},
worst position at least {COPY_BY_POSITION} with one and two statutes, neighbour's code exact at least {NEIGHBOUR_EXACT}.

| questions | language | n | exact | worst position |
|---|---|---|---|---|
{chr(10).join(rows)}

`python -m trainer.demoworld measure artifacts/demo-base/model` measures them again; `made.json` holds every value.
"""
