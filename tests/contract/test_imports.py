"""What a fresh process loads, and who may import whom."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.contract import TrainingStage, stage_kinds

REPOSITORY = Path(__file__).resolve().parents[2]


def loaded_after(statement: str) -> set[str]:
    """Top-level modules of a fresh process after a statement."""
    program = f"{statement}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    result = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return set(result.stdout.split())


@pytest.mark.trains
def test_the_contract_loads_neither_torch_nor_django():
    assert {"torch", "transformers", "numpy", "django"} & loaded_after("import trainer.contract") == set()


@pytest.mark.trains
def test_hashes_and_events_need_no_torch():
    assert "torch" not in loaded_after("import trainer.contract.hashing, trainer.events_log, trainer.__main__")


@pytest.mark.trains
def test_the_trainer_loads_neither_django_nor_what_starts_slowly():
    loaded = loaded_after("import trainer.loop, trainer.algorithms")
    assert "torch" in loaded
    assert {"django", "chanote", "datasets", "pandas", "peft", "matplotlib"} & loaded == set()


def test_a_web_server_starts_without_the_mathematics_that_only_boards_need():
    """It is a third of what the start would cost."""
    program = "import os, sys, django; django.setup(); import chanote.urls; print('scipy.stats' in sys.modules)"
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "chanote.settings", "PYTHONPATH": "platform:."}
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout.split()[-1] == "False"


def imports_of(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def test_no_file_of_the_trainer_imports_the_platform():
    files = list((REPOSITORY / "trainer").rglob("*.py"))
    assert len(files) > 20
    for path in files:
        assert {"django", "chanote", "celery", "toolsandbox"} & imports_of(path) == set(), path


def test_no_file_of_the_contract_imports_torch():
    for path in (REPOSITORY / "trainer" / "contract").rglob("*.py"):
        assert imports_of(path) <= {*sys.stdlib_module_names, "pydantic", "yaml", "trainer"}, path


def test_no_file_of_the_trainer_names_an_algorithm_outside_of_its_own():
    """The loop stays the same whatever algorithms there are."""
    kinds = {kind for kind, stage in stage_kinds().items() if issubclass(stage, TrainingStage)}
    assert {"cpt", "sft", "dpo", "opd", "grpo"} <= kinds
    homes = {"algorithms", "contract", "demoworld"}  # the demo writes recipes, which name algorithms
    for path in (REPOSITORY / "trainer").rglob("*.py"):
        if path.relative_to(REPOSITORY / "trainer").parts[0] not in homes:
            names = {node.value for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.Constant)}
            assert kinds & {name for name in names if isinstance(name, str)} == set(), path
