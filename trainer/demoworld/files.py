"""The demo's files: canonical JSON lines with their hashes, and the spec of the run that makes the base model."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from trainer.contract import DatasetFile, Recipe, RunSpec
from trainer.demoworld.catalogue import DATASETS, SEED, read_recipe
from trainer.demoworld.datasets import WRITERS, Row, write_lists, write_pretraining
from trainer.demoworld.nation import Nation, found_nation

PRETRAINING_DOCUMENTS = 100_000


def write_rows(path: Path, rows: Iterable[Row], *, kind: Any) -> DatasetFile:
    """Write canonical JSON lines: keys sorted, no spaces, UTF-8, a line feed after each row."""
    digest, count = hashlib.sha256(), 0
    with path.open("wb") as file:
        for row in rows:
            line = json.dumps(row, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode() + b"\n"
            digest.update(line)
            file.write(line)
            count += 1
    return DatasetFile(kind=kind, path=str(path.resolve()), sha256=digest.hexdigest(), rows=count)


def write_datasets(folder: Path, nation: Nation | None = None) -> dict[str, DatasetFile]:
    """Write every dataset of the catalogue and `manifest.json`, which lists them with their hashes."""
    nation = nation or found_nation(SEED)
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        entry["slug"]: write_rows(folder / f"{entry['slug']}.jsonl", WRITERS[entry["slug"]](nation), kind=entry["kind"])
        for entry in DATASETS
    }
    listed = {slug: {**file.model_dump(), "path": Path(file.path).name} for slug, file in files.items()}
    manifest = {"nation_seed": nation.seed, "datasets": listed}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return files


def prepare_pretraining(folder: Path, *, documents: int = PRETRAINING_DOCUMENTS) -> RunSpec:
    """Write the pretraining corpora and the `run.json` that `python -m trainer run` makes the base model from."""
    folder.mkdir(parents=True, exist_ok=True)
    nation = found_nation(SEED)
    corpora = {
        "lists": write_lists(nation, documents=documents // 2),
        "pretraining": write_pretraining(nation, documents=documents),
    }
    files = {name: write_rows(folder / f"{name}.jsonl", rows, kind="text") for name, rows in corpora.items()}
    recipe = Recipe.model_validate(yaml.safe_load(read_recipe("demo-base")))
    spec = RunSpec(run="demo-base", recipe=recipe, datasets=files)
    (folder / "run.json").write_text(spec.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return spec
