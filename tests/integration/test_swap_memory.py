"""What swapping saves of a real process's memory, and the plan against what was measured."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.rollout_runs import question_rows
from tests.trainer_runs import events_of, law_texts, metric, run_trainer, write_rows, write_run
from trainer.contract.hashing import hash_directory
from trainer.contract.stages.cpt import ModelShape
from trainer.policy import initialise_policy
from trainer.tokenizer import train_tokenizer

pytestmark = [pytest.mark.trains, pytest.mark.timeout(600)]

SHAPE = {"heads": 4, "kv_heads": 2, "head_dim": 64, "context_length": 128, "tokenizer": {"vocab_size": 320}}
SIZES: dict[str, dict[str, Any]] = {
    "student": {"hidden_size": 512, "layers": 4, "ffn_size": 1536},
    "teacher": {"hidden_size": 1024, "layers": 4, "ffn_size": 3584},
}
STAGE: dict[str, Any] = {
    "kind": "opd",
    "teacher": "teacher",
    "data": [{"dataset": "questions@1"}],
    "steps": 2,
    "batch_size": 2,
    "on_policy": 1.0,
    "sequence_length": 64,
    "sampling": {"max_new_tokens": 8},
}


def write_models(folder: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """Both models as run.json names them, and their parameters."""
    tokenizer = train_tokenizer(law_texts(60), vocab_size=320, context_length=128)
    named, counts = {}, {}
    for name, size in SIZES.items():
        policy = initialise_policy(ModelShape(**{**SHAPE, **size}), tokenizer, seed=1, device=torch.device("cpu"))
        policy.save(folder / name)
        named[name] = {"path": str(folder / name), "sha256": hash_directory(folder / name)}
        counts[name] = policy.count_parameters()
    return named, counts


def test_the_peak_is_lower_by_about_the_teacher_and_within_the_plan(tmp_path: Path):
    named, counts = write_models(tmp_path / "models")
    peaks, planned = {}, {}
    for swap in ("off", "on"):
        out = tmp_path / swap
        out.mkdir()
        data = {"questions@1": write_rows(out / "questions.jsonl", question_rows(8), "prompts")}
        write_run(
            out,
            [{**STAGE, "compute": {"swap": swap}}],
            data,
            recipe={"base": "student"},
            base=named["student"],
            models={"teacher": named["teacher"]},
        )
        result = run_trainer("run", str(out))
        assert result.returncode == 0, result.stderr
        peaks[swap] = max(metric(out, "system/memory_mb").values()) * 1e6
        planned[swap] = events_of(out, "memory_planned")[0].peak
        [measured] = events_of(out, "memory_measured")
        assert measured.measured <= 1.1 * planned[swap]
        assert f"memory of a process: at most {planned[swap] / 1e9:.2f} GB" in result.stdout
    teacher = 4 * counts["teacher"]
    assert planned["off"] - planned["on"] > 0.5 * teacher
    assert peaks["off"] - peaks["on"] > 0.5 * teacher
    assert metric(tmp_path / "on", "train/loss") == metric(tmp_path / "off", "train/loss")
