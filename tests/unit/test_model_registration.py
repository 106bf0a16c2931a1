"""What counts as a checkpoint, what is read of it without torch, and what a checkpoint of a run becomes."""

import json
import os
import pickle
import struct
from pathlib import Path

import pytest
from django.core.exceptions import PermissionDenied

from chanote.models.errors import ModelRefused
from chanote.models.models import Origin
from chanote.models.reading import count_parameters, read_checkpoint
from chanote.models.services import register_checkpoint, register_directory, register_hub_model
from trainer.contract.hashing import hash_directory

CONFIG = {
    "model_type": "qwen3",
    "architectures": ["Qwen3ForCausalLM"],
    "max_position_embeddings": 512,
    "vocab_size": 1024,
}


def write_weights(path, tensors):
    """A safetensors file of float32 tensors, written by hand: length, header, numbers."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensors.items():
        size = 4
        for side in shape:
            size *= side
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    raw = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + bytes(offset))


@pytest.fixture
def directory(tmp_path):
    place = tmp_path / "model"
    place.mkdir()
    (place / "config.json").write_text(json.dumps(CONFIG))
    (place / "tokenizer.json").write_text("{}")
    write_weights(place / "model.safetensors", {"a": [3, 5], "b": [7], "scalar": []})
    return place


def test_a_directory_is_registered_with_what_its_files_say(project, researcher, directory):
    (directory / "README.md").write_text("---\ntags: [x]\nlicense: apache-2.0\n---\n# Card\n")
    model = register_directory(project=project, slug="base", path=directory, actor=researcher)
    assert (model.parameters, model.context_length, model.vocabulary) == (3 * 5 + 7 + 1, 512, 1024)
    assert (model.architecture, model.licence, model.origin) == ("Qwen3ForCausalLM", "apache-2.0", "directory")
    assert model.sha256 == hash_directory(directory)
    assert model.location == str(directory)


def test_sharded_weights_count_together_and_none_may_lack(directory):
    (directory / "model.safetensors").unlink()
    write_weights(directory / "one.safetensors", {"a": [10]})
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"lacks 1 of 2 files of weights, the first is two\.safetensors"):
        read_checkpoint(directory)
    write_weights(directory / "two.safetensors", {"b": [4]})
    assert read_checkpoint(directory).parameters == 14


def _truncate(directory):
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])


def _pickle(directory):
    (directory / "model.safetensors").unlink()
    (directory / "pytorch_model.bin").write_bytes(pickle.dumps(_Trap()))


class _Trap:
    def __reduce__(self):
        return (os._exit, (7,))


def _write(name, content):
    def write(directory):
        (directory / name).write_bytes(content)

    return write


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: (d / "config.json").unlink(), "has no config.json, so it is no Hugging Face checkpoint"),
        (_write("config.json", b"{"), "has a config.json that is not JSON"),
        (_write("config.json", b"[1]"), "has a config.json without model_type"),
        (lambda d: (d / "model.safetensors").unlink(), "has no model.safetensors"),
        (lambda d: (d / "tokenizer.json").unlink(), "has no tokenizer"),
        (_truncate, "bytes where its header says"),
        (_pickle, "holds pickled weights, which can run code when opened"),
        (_write("model.safetensors", b"\xff" * 64), "is cut off or no safetensors file"),
        (_write("model.safetensors", struct.pack("<Q", 2) + b"{}"), "without tensors"),
        (_write("model.safetensors", struct.pack("<Q", 4) + b"null"), "whose header cannot be read"),
        (
            _write("model.safetensors.index.json", b'{"weight_map": {"a": "../../secret"}}'),
            "names weights outside its directory",
        ),
    ],
)
def test_what_is_no_checkpoint_is_refused_and_never_opened(project, researcher, directory, spoil, message):
    spoil(directory)
    with pytest.raises(ModelRefused, match=message) as caught:
        register_directory(project=project, slug="base", path=directory, actor=researcher)
    assert caught.value.problems[0].field == "path"
    assert not project.models.exists()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("relative/model", "is not an absolute path"),
        ("/nonexistent/model", "is no directory that the platform can read"),
    ],
)
def test_a_wrong_path_is_told(project, researcher, path, message):
    with pytest.raises(ModelRefused, match=message):
        register_directory(project=project, slug="base", path=path, actor=researcher)


def test_names_are_taken_once(project, researcher, viewer, directory):
    register_directory(project=project, slug="base", path=directory, actor=researcher)
    with pytest.raises(ModelRefused, match="already has a model named base"):
        register_directory(project=project, slug="base", path=directory, actor=researcher)
    with pytest.raises(ModelRefused, match="Use lower-case letters") as caught:
        register_directory(project=project, slug="Base Model", path=directory, actor=researcher)
    assert caught.value.problems[0].field == "slug"
    with pytest.raises(PermissionDenied):
        register_directory(project=project, slug="mine", path=directory, actor=viewer)


def test_the_parameters_are_those_that_torch_would_count(directory):
    from safetensors.numpy import load_file

    path = directory / "model.safetensors"
    assert count_parameters(path) == sum(tensor.size for tensor in load_file(path).values())


def test_a_hub_model_is_taken_from_the_cache_or_the_way_there_is_told(
    project, researcher, directory, tmp_path, monkeypatch
):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    ask = {"project": project, "slug": "tiny", "hub_name": "org/tiny", "actor": researcher}
    with pytest.raises(ModelRefused, match=r"downloads nothing\. Fetch it with `hf download org/tiny`"):
        register_hub_model(**ask)
    commit = "0123456789abcdef0123456789abcdef01234567"
    folder = tmp_path / "hub/models--org--tiny"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs/main").write_text(commit)
    (folder / "snapshots").mkdir()
    directory.rename(folder / "snapshots" / commit)
    model = register_hub_model(**ask)
    assert (model.origin, model.hub_name, model.title) == (Origin.HUB, f"org/tiny@{commit}", "org/tiny")
    assert model.sha256 == hash_directory(folder / "snapshots" / commit)
    for wrong in ("../../etc", "tiny", "org/../x"):
        with pytest.raises(ModelRefused, match="is no hub name"):
            register_hub_model(**{**ask, "hub_name": wrong})


@pytest.fixture
def checkpoint(project, researcher, directory, tmp_path):
    """A checkpoint of run 4, which started from a model under CC-BY-4.0."""
    from chanote.recipes.models import Recipe, Revision
    from chanote.runs.models import Attempt, Checkpoint, Run

    base = register_directory(project=project, slug="base", path=directory, licence="CC-BY-4.0", actor=researcher)
    recipe = Recipe.objects.create(project=project, slug="r", title="r")
    revision = Revision.objects.create(recipe=recipe, number=1, yaml="", resolved={})
    run = Run.objects.create(
        project=project, number=4, name="Learn law", revision=revision, base=base, snapshot={}, owner=researcher
    )
    attempt = Attempt.objects.create(run=run, number=1, directory=str(tmp_path))
    made = tmp_path / "checkpoints/step-20/model"
    made.parent.mkdir(parents=True)
    directory.rename(made)
    write_weights(made / "model.safetensors", {"a": [3, 6]})
    return Checkpoint.objects.create(
        run=run, attempt=attempt, step=20, stage=0, directory=str(made.parent), sha256=hash_directory(made)
    )


def test_a_checkpoint_becomes_one_model_with_its_lineage(checkpoint):
    model = register_checkpoint(checkpoint)
    assert (model.slug, model.title, model.origin) == ("learn-law-4-step-20", "Learn law, step 20", "run")
    assert (model.parent.slug, model.licence, model.parameters) == ("base", "CC-BY-4.0", 18)
    assert model.sha256 == hash_directory(Path(model.location))
    assert register_checkpoint(checkpoint) == model


def test_a_run_that_carries_its_number_in_its_name_does_not_say_it_twice(checkpoint):
    checkpoint.run.name = "learn-law-4"
    assert register_checkpoint(checkpoint).slug == "learn-law-4-step-20"


def test_a_model_that_an_evaluation_made_of_the_checkpoint_is_taken(checkpoint, project):
    from chanote.models.models import Model

    scored = Model.objects.create(
        project=project, slug="scored", origin=Origin.RUN, location="x", sha256=checkpoint.sha256
    )
    assert register_checkpoint(checkpoint) == scored
    checkpoint.refresh_from_db()
    assert checkpoint.model == scored


def test_a_removed_checkpoint_becomes_no_model(checkpoint):
    from django.utils import timezone

    checkpoint.removed = timezone.now()
    checkpoint.save()
    with pytest.raises(ModelRefused, match="were removed to save space"):
        register_checkpoint(checkpoint)


def test_the_line_of_descent_goes_from_data_to_board(checkpoint, project):
    import io

    from chanote.datasets.services import import_dataset
    from chanote.models.lineage import trace_lineage

    version = import_dataset(
        project=project, slug="law", kind="text", file=io.BytesIO(b'{"text": "x"}'), format="jsonl", actor=None
    )
    run = checkpoint.run
    run.snapshot = {
        "recipe": {"stages": [{"kind": "cpt", "data": [{"dataset": "law@1"}]}]},
        "datasets": {"law@1": {"sha256": version.sha256, "rows": 1}, "exam@1": {"sha256": "0" * 64, "rows": 5}},
    }
    run.save()
    steps = trace_lineage(register_checkpoint(checkpoint))
    assert [step.word for step in steps] == ["Model", "Data", "Recipe", "Run", "Checkpoint", "This model"]
    assert [link.text for link in steps[1].links] == ["law@1"], "what only judged is no part of it"
    assert steps[1].links[0].url == "/p/law/datasets/law/?version=1"
    assert steps[3].links[0].url == "/p/law/runs/4/"


def test_a_student_is_under_the_terms_of_its_teacher_and_shows_it(checkpoint, project):
    """Text that was read beside rewards is part of it too; what came after its checkpoint is not."""
    from chanote.models.lineage import trace_lineage
    from chanote.models.models import Model

    for slug, licence in (("wise", "Apache-2.0 OR MIT"), ("later", "CC0-1.0")):
        Model.objects.create(
            project=project, slug=slug, origin="directory", location="x", sha256=slug[0] * 64, licence=licence
        )
    stages = [
        {"kind": "opd", "teacher": "wise", "data": [{"dataset": "asked@1"}]},
        {"kind": "ink_grpo", "data": [{"dataset": "asked@1"}], "corpus": [{"dataset": "law@1"}]},
        {"kind": "opd", "teacher": "later", "data": [{"dataset": "other@1"}]},
    ]
    names = ("asked@1", "law@1", "other@1")
    run = checkpoint.run
    run.snapshot = {
        "recipe": {"stages": stages},
        "models": {"wise": {"sha256": "w" * 64}, "later": {"sha256": "l" * 64}},
        "datasets": {name: {"sha256": str(place) * 64, "rows": 1} for place, name in enumerate(names)},
    }
    run.save()
    checkpoint.stage = 1
    checkpoint.save()
    model = register_checkpoint(checkpoint)
    assert model.licence == "CC-BY-4.0 AND (Apache-2.0 OR MIT)"
    steps = {step.word: step for step in trace_lineage(model)}
    assert [link.text for link in steps["Data"].links] == ["asked@1", "law@1"]
    [teacher] = steps["Taught by"].links
    assert (teacher.text, teacher.url) == ("wise", "/p/law/models/wise/")
    assert teacher.note == "Apache-2.0 OR MIT, wwwwwwww"
