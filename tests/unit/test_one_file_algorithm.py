"""The example of docs/adding-an-algorithm.md: one file, and nothing else, makes an algorithm."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.trainer_runs import REPOSITORY, TINY, chat_rows, events_of, metric, text_rows, write_rows, write_run

pytestmark = pytest.mark.trains

STAGES = [
    {
        "kind": "cpt",
        "data": [{"dataset": "law@1"}],
        "steps": 2,
        "batch_size": 2,
        "sequence_length": 64,
        "initialise": TINY,
    },
    {
        "kind": "focused_sft",
        "data": [{"dataset": "chat@1"}],
        "steps": 12,
        "batch_size": 4,
        "sequence_length": 96,
        "sharpness": 0.5,
        "optimizer": {"learning_rate": 1e-2},
    },
]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the trainer with the documented file in it."""
    root = tmp_path_factory.mktemp("copy")
    shutil.copytree(REPOSITORY / "trainer", root / "trainer", ignore=shutil.ignore_patterns("__pycache__"))
    text = (REPOSITORY / "docs/adding-an-algorithm.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    (root / "trainer/algorithms/focused_sft.py").write_text(code, encoding="utf-8")
    return root


def run_in(copy: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *command], cwd=copy, env=environment, capture_output=True, text=True, timeout=200
    )


def test_the_documented_file_is_all_that_an_algorithm_needs(copy: Path, tmp_path: Path):
    datasets = {
        "law@1": write_rows(tmp_path / "law.jsonl", text_rows(20), "text"),
        "chat@1": write_rows(tmp_path / "chat.jsonl", chat_rows(20), "chat"),
    }
    out = write_run(tmp_path / "run", STAGES, datasets)
    result = run_in(copy, "-m", "trainer", "run", str(out))
    assert result.returncode == 0, result.stderr
    losses = list(metric(out, "train/loss").values())
    assert losses[-1] != losses[2]
    assert events_of(out, "stage_started")[1].kind == "focused_sft"


def test_its_settings_are_in_the_schema_and_its_mistakes_named(copy: Path, tmp_path: Path):
    schema = json.loads(run_in(copy, "-m", "trainer", "schema", "recipe").stdout)
    assert schema["$defs"]["FocusedSftStage"]["properties"]["sharpness"]["description"].startswith("Exponent")
    out = write_run(tmp_path, [STAGES[0], {**STAGES[1], "sharpness": -1}], {})
    result = run_in(copy, "-m", "trainer", "run", str(out))
    assert result.returncode == 2
    assert "recipe.stages[1].sharpness: " in result.stderr


def test_the_contract_still_loads_no_torch(copy: Path):
    program = (
        "import sys, trainer.contract as c; assert 'focused_sft' in c.stage_kinds();"
        "print(sorted({'torch', 'numpy', 'transformers'} & set(sys.modules)))"
    )
    result = run_in(copy, "-c", program)
    assert result.stdout.strip() == "[]", result.stderr
