"""A project with a trained, scored model and a dataset that may leave the house, for tests of custody."""

import io
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chanote.boards.services import freeze_task, import_evaluation
from chanote.datasets.models import DatasetVersion
from chanote.datasets.services import import_dataset
from chanote.models.models import Model
from chanote.models.services import register_checkpoint, register_directory
from chanote.rights.sources import create_source
from chanote.runs.models import Checkpoint
from tests.run_rows import make_run
from trainer.contract import TaskSpec
from trainer.contract.events import ScoredSample
from trainer.contract.hashing import hash_directory

CONFIG = {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "max_position_embeddings": 512, "vocab_size": 9}
USES = ("train", "distil", "evaluate", "publish")


def write_model(place: Path, *, filler: int = 0) -> Path:
    """A checkpoint's files, with 23 numbers in its weights."""
    place.mkdir(parents=True)
    (place / "config.json").write_text(json.dumps(CONFIG))
    (place / "tokenizer.json").write_text("{}")
    header = {"a": {"dtype": "F32", "shape": [23], "data_offsets": [0, 92]}}
    raw = json.dumps(header).encode()
    (place / "model.safetensors").write_bytes(struct.pack("<Q", len(raw)) + raw + bytes([filler]) * 92)
    return place


def add_version(
    project: Any, *, slug: str = "laws", texts: tuple[str, ...] = ("มาตรา 1", "มาตรา 2", "Section 3"), **rights: Any
) -> DatasetVersion:
    """A version whose rows come from a source of their own."""
    lines = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
    given: dict[str, Any] = {"uses": list(USES), "licence": "CC-BY-4.0", "languages": ["th"], **rights}
    facts = given.pop("source_facts", {"legal_basis": "Copyright Act, section 7", "owner": "Office of the Council"})
    name = given.pop("source_name", f"{slug}-gazette")
    return import_dataset(
        project=project, slug=slug, kind="text", file=io.BytesIO(lines.encode()), format="jsonl", source_name=name,
        source_facts=facts, source="https://example.org/laws", actor=None, **given,
    )  # fmt: skip


def train_model(project: Any, version: DatasetVersion, folder: Path, *, base_uses: Sequence[str] = USES) -> Model:
    """A model that a finished run made of a base and the version, as launching and ingest would leave it."""
    base = register_directory(
        project=project, slug="base-model", path=write_model(folder / "base"), licence="Apache-2.0",
        uses=list(base_uses), actor=None,
    )  # fmt: skip
    stages = [{"kind": "sft", "name": "answer", "data": [{"dataset": version.reference, "weight": 1.0}], "steps": 50}]
    snapshot = {
        "run": "x",
        "recipe": {"base": "base-model", "stages": stages},
        "base": {"path": base.location, "sha256": base.sha256},
        "datasets": {version.reference: {"kind": "text", "sha256": version.sha256, "rows": version.rows}},
        "code": {"chanote": "0.1.0", "commit": "f" * 40},
    }
    run = make_run(project, state="finished", snapshot=snapshot, seed=7)
    attempt = run.attempts.get()
    attempt.facts = {"packages": {"torch": "2.13.0"}, "hardware": {"processor": "test | one"}, "device": "cpu"}
    attempt.save()
    place = write_model(folder / "made/model", filler=1)
    checkpoint = Checkpoint.objects.create(
        run=run, attempt=attempt, step=50, stage=0, directory=str(folder / "made"), sha256=hash_directory(place)
    )
    return register_checkpoint(checkpoint)


def score_model(model: Model, version: DatasetVersion, folder: Path, *, right: int = 6, wrong: int = 2) -> None:
    definition = TaskSpec(
        task="law-qa", title="Law", dataset=version.reference, output_type="generate_until", metric="exact_match"
    )
    task = freeze_task(project=model.project, definition=definition, dataset_version=version)
    lines = [
        ScoredSample(
            item=f"item-{number}", cluster="", prompt="?", output="x", target="x", score=float(number < right),
            status="ok", tokens=1,
        ).model_dump_json()
        for number in range(right + wrong)
    ]  # fmt: skip
    path = folder / "samples.jsonl"
    path.write_text("\n".join(lines) + "\n")
    import_evaluation(task=task, model=model, samples_path=path)


def name_source(project: Any, slug: str, **facts: Any) -> Any:
    return create_source(
        project=project, slug=slug, actor=None, **{"uses": list(USES), "licence": "CC-BY-4.0", **facts}
    )
