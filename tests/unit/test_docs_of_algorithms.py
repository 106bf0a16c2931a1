"""What docs/ says of the algorithms is what the code does: kinds, fields, defaults, and tests that are really there."""

import re
from functools import cache
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tests.trainer_runs import REPOSITORY
from trainer.contract.stages import TrainingStage, stage_kinds
from trainer.contract.stages.rollouts import RolloutStage

DOCS = REPOSITORY / "docs"
KINDS = {kind: stage for kind, stage in stage_kinds().items() if issubclass(stage, TrainingStage)}
EXTENDS = {"ink_grpo": ["grpo"], "agentic_rft": ["ink_grpo", "grpo"]}
"""Sections that say `and all fields of` others."""
FAMILIES = {"Every training stage": TrainingStage, "Stages that sample": RolloutStage}


@cache
def sections() -> dict[str, str]:
    """Heading → text of docs/algorithms.md."""
    found = re.split(r"^## (.+)$", (DOCS / "algorithms.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(found[1::2], found[2::2], strict=True))


def named_tests(text: str) -> list[tuple[str, str]]:
    """(file, function or empty) of every test that a text names in backticks."""
    return re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text)


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_every_test_that_a_page_names_is_there(page: str):
    for file, function in named_tests((DOCS / page).read_text(encoding="utf-8")):
        assert (REPOSITORY / file).is_file(), file
        assert not function or f"def {function}(" in (REPOSITORY / file).read_text(encoding="utf-8"), function


@pytest.mark.parametrize("kind", KINDS)
def test_every_algorithm_has_its_formula_source_and_test(kind: str):
    text = sections()[kind]
    assert re.search(r"L = |The loss of `", text)
    assert re.search(r"arXiv:\d{4}\.\d{5}", text)
    assert named_tests(text)
    overview = next(iter((DOCS / "algorithms.md").read_text(encoding="utf-8").split("## ")))
    assert f"| `{kind}` |" in overview
    assert f"(#{kind})" in overview


def test_no_section_is_about_a_kind_that_is_not_there():
    assert set(sections()) == {*KINDS, *FAMILIES}


def own_fields(stage: type[BaseModel], *, beyond: type[BaseModel]) -> dict[str, FieldInfo]:
    """Fields that a stage adds to a family, or has with another default."""
    known = beyond.model_fields
    return {
        name: field
        for name, field in stage.model_fields.items()
        if name not in ("kind", "name") and (name not in known or known[name].default != field.default)
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_of_an_algorithm_is_explained(kind: str):
    stage, text = KINDS[kind], sections()[kind]
    for base in EXTENDS.get(kind, ()):
        text += sections()[base]
    family = RolloutStage if issubclass(stage, RolloutStage) else TrainingStage
    for name in own_fields(stage, beyond=family):
        assert re.search(rf"`{name}\b", text), name


@pytest.mark.parametrize("family", FAMILIES)
def test_every_field_of_a_family_is_explained(family: str):
    beyond = StageOnly if FAMILIES[family] is TrainingStage else TrainingStage
    for name in own_fields(FAMILIES[family], beyond=beyond):
        assert f"`{name}`" in sections()[family], name


class StageOnly(BaseModel):
    """Has no field of a training stage."""


def stated_defaults() -> list[tuple[str, str, str]]:
    """(section, field, default as written) of every row of a table `field | default | meaning`."""
    found = []
    for section, text in sections().items():
        for table in re.findall(r"\| field \| default \| meaning \|\n\|[-|]+\|\n((?:\|.*\n)+)", text):
            for row in table.splitlines():
                fields, default, *_ = (cell.strip() for cell in row.strip("|").split(" | "))
                names = re.findall(r"`([\w.]+)`", fields)
                values = [value.strip() for value in default.split(",")]
                if len(names) == len(values):
                    found += [(section, name, value) for name, value in zip(names, values, strict=True)]
    return found


def test_the_tables_are_read():
    assert len(stated_defaults()) > 35
    assert ("grpo", "std_epsilon", "1e-6") in stated_defaults()


@pytest.mark.parametrize(("section", "name", "written"), stated_defaults())
def test_defaults_are_those_of_the_code(section: str, name: str, written: str):
    default: Any = FAMILIES.get(section) or KINDS[section]
    for part in name.split("."):
        field = (default if isinstance(default, type) else type(default)).model_fields[part]
        default = field.get_default(call_default_factory=True)
    written = written.strip("`")
    if written in ("–", "all"):
        assert field.is_required() or default in (None, "", [])
    elif written in ("true", "false"):
        assert default is (written == "true")
    elif isinstance(default, str):
        assert default == written
    elif not isinstance(default, BaseModel):
        assert float(written) == default


def test_the_optimiser_is_described_as_it_is():
    [row] = [line for line in sections()["Every training stage"].splitlines() if line.startswith("| `optimizer`")]
    stated = dict(re.findall(r"`(\w+)` ([\w.-]+)", row.partition("AdamW:")[2]))
    fields = TrainingStage.model_fields["optimizer"].default.model_dump()
    assert stated.keys() == fields.keys()
    for name, value in fields.items():
        assert stated[name] == value if isinstance(value, str) else float(stated[name]) == value, name


def test_exactness_lists_every_known_fault_with_a_test():
    rows = re.findall(r"^\| (\d+) \| (.+) \| (.+) \| (.+) \|$", (DOCS / "exactness.md").read_text(), flags=re.MULTILINE)
    assert [int(number) for number, *_ in rows] == list(range(1, 24))
    for number, *_, tests in rows:
        assert all(function for _, function in named_tests(tests)), number
        assert named_tests(tests), number
