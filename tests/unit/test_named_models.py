"""Models beside the policy, such as a teacher: named in a recipe, checked before launch, frozen with the run."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from chanote.datasets.services import import_dataset
from chanote.models.models import Model, Origin
from chanote.models.vocabulary import compare_vocabularies
from chanote.recipes.forms.options import read_options
from chanote.recipes.forms.schema_form import build_form
from chanote.runs.freezing import find_obstacles
from chanote.runs.services import launch_run
from tests.installation import write_recipe
from trainer.contract import Recipe, RunSpec

pytestmark = pytest.mark.django_db
WORDS = {"a": 0, "b": 1, "<end>": 2}


def write_tokenizer(directory: Path, vocabulary: Any, added: dict[str, int] | None = None) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    content = {
        "added_tokens": [{"id": number, "content": token} for token, number in (added or {}).items()],
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    }
    (directory / "tokenizer.json").write_text(json.dumps(content))
    return directory


@pytest.fixture
def add_model(project, tmp_path: Path):
    def add(slug: str, vocabulary: Any = WORDS, sha256: str = "0", **fields: Any) -> Model:
        location = write_tokenizer(tmp_path / slug, vocabulary)
        return Model.objects.create(
            project=project,
            slug=slug,
            origin=Origin.DIRECTORY,
            location=str(location),
            sha256=sha256 * 64,
            **{"context_length": 512, **fields},
        )

    return add


@pytest.fixture
def asked(project, researcher):
    def add(uses: tuple[str, ...]):
        rows = io.BytesIO(b'{"question": "When?", "answer": "Now."}\n')
        given = {"slug": "asked", "kind": "prompts", "file": rows, "format": "jsonl", "uses": list(uses)}
        return import_dataset(project=project, actor=researcher, **given)

    return add


def distil(**fields: Any) -> dict[str, Any]:
    return {"kind": "opd", "teacher": "teacher", "data": [{"dataset": "asked"}], "steps": 2, **fields}


def obstacles(project, *stages: dict[str, Any]) -> dict[str, str]:
    recipe = Recipe.model_validate({"stages": list(stages), "base": "student"})
    return {problem.field: problem.message for problem in find_obstacles(project, recipe)}


def test_a_teacher_is_frozen_by_file_and_hash(project, researcher, add_model, asked):
    asked(("distil",))
    add_model("student", sha256="1")
    teacher = add_model("teacher", sha256="2")
    run = launch_run(revision=write_recipe(project, [distil()], base="student"), owner=researcher)
    assert run.snapshot["models"] == {"teacher": {"path": teacher.location, "sha256": "2" * 64}}
    spec = RunSpec.model_validate({name: run.snapshot[name] for name in RunSpec.model_fields if name in run.snapshot})
    assert spec.models["teacher"].sha256 == teacher.sha256
    assert spec.base is not None
    assert spec.base.sha256 == "1" * 64


def test_an_unknown_teacher_is_named_with_its_field(project, add_model, asked):
    asked(("distil",))
    add_model("student")
    found = obstacles(project, distil(teacher="nobody"))
    assert found == {"stages[0].teacher": "nobody is no model of this project; choose one of student."}


@pytest.mark.parametrize(
    ("vocabulary", "word"),
    [
        ({**WORDS, "c": 3}, "4 tokens against 3"),
        ({"a": 1, "b": 0, "<end>": 2}, "the token 'a' is number 1 there and 0 here"),
        ({"a": 0, "c": 1, "<end>": 2}, "the token 'b' is number none there and 1 here"),
    ],
)
def test_a_teacher_with_other_tokens_is_refused(project, add_model, asked, vocabulary, word):
    asked(("distil",))
    add_model("student")
    add_model("teacher", vocabulary)
    found = obstacles(project, distil())
    assert found == {
        "stages[0].teacher": f"teacher has another tokenizer than student ({word}); choose a model of the same family."
    }


def test_a_teacher_must_hold_the_students_sequences(project, add_model, asked):
    asked(("distil",))
    add_model("student", context_length=4096)
    add_model("teacher", context_length=256)
    assert "teacher reads 256 tokens and sequence_length is 512" in obstacles(project, distil())["stages[0].teacher"]


def test_rows_must_allow_distilling(project, add_model, asked):
    asked(("train", "evaluate"))
    add_model("student")
    add_model("teacher")
    assert obstacles(project, distil()) == {
        "stages[0].data[0].dataset": (
            "the rights of asked@1 allow train, evaluate, not distil: it must not be used to distil a teacher "
            "(row 1, source asked); choose another dataset, or ask for an exception."
        )
    }


def test_added_tokens_count_and_unigram_models_are_read(tmp_path: Path):
    one = write_tokenizer(tmp_path / "one", {"a": 0, "b": 1}, {"<end>": 2})
    other = write_tokenizer(tmp_path / "other", [["a", -1.0], ["b", -2.0]], {"<end>": 2})
    assert compare_vocabularies(one, other) == ""
    assert compare_vocabularies(one, write_tokenizer(tmp_path / "third", {"a": 0, "b": 1})) == "2 tokens against 3"
    assert compare_vocabularies(one, tmp_path / "none") == ""


def test_the_form_offers_the_projects_models_as_teacher(project, add_model):
    add_model("student")
    add_model("teacher", title="Large")
    data = {"base": "student", "stages": [{"kind": "opd", "teacher": "gone"}]}
    form = build_form(data, [], read_options(project))
    part = next(part for part in form.stages[0].basic if part.name == "stages[0].teacher")
    labels = {choice.value: choice.label for choice in part.choices}
    assert part.kind == "select"
    assert labels["teacher"] == "teacher (Large)"
    assert labels["gone"].startswith("gone (not ")


def test_a_spec_without_the_teachers_files_is_no_spec():
    recipe = {"stages": [distil()], "base": "student"}
    file = {"path": "x", "sha256": "0" * 64}
    datasets = {"asked": {"kind": "prompts", "path": "x", "sha256": "0" * 64, "rows": 1}}
    with pytest.raises(ValueError, match=r"recipe.stages\[0\].teacher names model teacher, which is not in models"):
        RunSpec.model_validate({"run": "r", "recipe": recipe, "base": file, "datasets": datasets})
