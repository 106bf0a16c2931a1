"""The layout's promises: who imports whom, and the file names that would break Python itself."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[1]
FOREIGN_TO_TRAINER = {"django", "rest_framework", "celery", "chanote"}


def list_tracked(*patterns: str) -> list[Path]:
    found = subprocess.run(["git", "ls-files", *patterns], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return [REPOSITORY / line for line in found.stdout.splitlines()]


def imports_of(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("folder", ["platform", "docker", "templates", "static", "tests"])
def test_folder_is_not_a_package(folder):
    """`platform/__init__.py` would shadow the standard library's module of that name."""
    assert not (REPOSITORY / folder / "__init__.py").exists()


def test_no_module_shadows_a_library_beside_the_trainer():
    assert not (REPOSITORY / "trainer/datasets.py").exists()
    assert not (REPOSITORY / "trainer/tokenizers.py").exists()


def test_the_platform_takes_only_the_contract_and_the_demo_from_the_trainer():
    """`trainer.demoworld` is the demo's texts: neither torch nor Django in it."""
    for file in (REPOSITORY / "platform").rglob("*.py"):
        for name in imports_of(file):
            if name == "trainer" or name.startswith("trainer."):
                assert name.startswith(("trainer.contract", "trainer.demoworld")), f"{file} imports {name}"


def test_the_platform_never_imports_torch():
    for file in (REPOSITORY / "platform").rglob("*.py"):
        for name in imports_of(file):
            assert name.split(".")[0] not in {"torch", "transformers", "accelerate"}, f"{file} imports {name}"


def test_nothing_outside_the_platform_imports_django():
    for file in list_tracked("trainer/*.py", "trainer/**/*.py", "toolsandbox/**/*.py", "docker/*.py"):
        for name in imports_of(file):
            assert name.split(".")[0] not in FOREIGN_TO_TRAINER, f"{file} imports {name}"


def test_the_sandbox_imports_neither_the_trainer_nor_torch():
    for file in list_tracked("toolsandbox/*.py", "toolsandbox/**/*.py"):
        for name in imports_of(file):
            assert name.split(".")[0] not in {"trainer", "torch", "transformers", "pickle"}, f"{file} imports {name}"


def test_only_the_contract_of_the_sandbox_is_imported_elsewhere():
    for file in list_tracked("trainer/**/*.py", "platform/**/*.py"):
        for name in imports_of(file):
            if name.split(".")[0] == "toolsandbox":
                assert name.startswith("toolsandbox.contract"), f"{file} imports {name}"


def test_the_contract_of_the_sandbox_needs_only_pydantic():
    for name in imports_of(REPOSITORY / "toolsandbox/contract.py"):
        assert name.split(".")[0] in {*sys.stdlib_module_names, "pydantic"}, name


def test_importing_the_contract_and_the_demo_loads_neither_torch_nor_django():
    program = (
        "import sys, trainer.contract, trainer.demoworld.catalogue, trainer.demoworld.files;"
        "print(sorted({'torch', 'django', 'transformers'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_the_web_process_loads_no_torch():
    program = (
        "import os, sys; os.environ['DJANGO_SETTINGS_MODULE'] = 'chanote.settings';"
        "import chanote.asgi, chanote.urls, chanote.celery; from django.urls import get_resolver;"
        "get_resolver().url_patterns; print('torch' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


@pytest.mark.parametrize("word", ["utils", "helpers", "manager", "common", "misc"])
def test_no_file_is_named_after_nothing(word):
    for file in list_tracked("platform/**/*.py", "trainer/**/*.py", "toolsandbox/**/*.py"):
        assert file.stem != word, f"{file}: name it after what it does"


def test_templates_hold_no_inline_script_or_style():
    """The content security policy would refuse them silently."""
    for file in list_tracked("templates/**/*.html"):
        text = file.read_text(encoding="utf-8")
        assert "<style" not in text, file
        assert " style=" not in text, file
        assert " onclick=" not in text, file
        for part in text.split("<script")[1:]:
            opening = part.partition(">")[0]
            assert "src=" in opening or 'type="application/json"' in opening, file


def test_lock_files_carry_no_addresses():
    for file in list_tracked("package-lock.json", "**/package-lock.json"):
        assert '"resolved"' not in file.read_text(encoding="utf-8")


def test_only_serving_needs_a_web_server_beside_the_trainer():
    """The trainer imports and trains where neither starlette nor uvicorn is installed."""
    for file in (REPOSITORY / "trainer").rglob("*.py"):
        serves = "serving" in file.relative_to(REPOSITORY).parts
        for name in imports_of(file):
            if name.split(".")[0] in {"starlette", "uvicorn"}:
                assert serves, f"{file} imports {name}"
            if name.startswith("trainer.serving"):
                assert serves or file.name == "__main__.py", f"{file} imports {name}"


OWN = {"chanote", "trainer", "toolsandbox"}
ONLY_WHERE_PRESENT = {"vllm", "pynvml"}
"""Imported where they are installed, and never needed."""


@pytest.mark.parametrize(
    ("folder", "extras"),
    [("platform", ["platform"]), ("trainer", ["trainer", "serving"]), ("toolsandbox", ["sandbox"])],
)
def test_every_library_that_is_imported_is_declared_by_whoever_imports_it(folder, extras):
    """One that another library happens to bring along is gone with that library's next version."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    declared = {canonicalize_name(Requirement(line).name) for line in wanted}
    providers = packages_distributions()
    missing = {}
    for file in (REPOSITORY / folder).rglob("*.py"):
        for name in {name.split(".")[0] for name in imports_of(file)} - OWN - ONLY_WHERE_PRESENT:
            if name not in sys.stdlib_module_names:
                brought = {canonicalize_name(one) for one in providers.get(name, [name])}
                if not brought & declared:
                    missing.setdefault(name, file.relative_to(REPOSITORY))
    assert missing == {}
