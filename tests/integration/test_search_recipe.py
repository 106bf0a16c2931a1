"""The library's recipe for a policy with tools, cut to a few steps, on the demo's real base, rows and tool service."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.replication.agent import TOOLS, write_service_corpus
from tests.sandbox_serving import serve_tools
from tests.trainer_runs import REPOSITORY, events_of, metric, run_here
from trainer.contract import ModelFile, Recipe, RunSpec
from trainer.contract.hashing import hash_directory
from trainer.contract.toolsets import ToolsetSpec
from trainer.demoworld.catalogue import BASE_MODEL, read_recipe
from trainer.demoworld.files import write_rows
from trainer.demoworld.library import found_library, write_exam, write_practice, write_traces
from trainer.demoworld.nation import found_nation

pytestmark = [pytest.mark.trains, pytest.mark.timeout(600)]

LIBRARY = found_library(found_nation(0))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("service")
    corpus = write_service_corpus(folder / "laws.jsonl", LIBRARY)
    with serve_tools(folder, "--no-code", "--corpus", corpus) as address:
        yield address


def run_shortened(out: Path, address: str, *, kinds: tuple[str, ...] = ("sft", "agentic_rft")) -> int:
    """A few steps of the stages of these kinds, with short turns and an exam of four questions."""
    content = yaml.safe_load(read_recipe("learn-to-search"))
    content["stages"] = [stage for stage in content["stages"] if stage["kind"] in kinds]
    for stage in content["stages"]:
        stage.update({"steps": 4 if stage["kind"] == "sft" else 1, "checkpoint_every": 0, "measure_every": 0})
        if stage["kind"] == "agentic_rft":
            stage.update({"batch_size": 4, "group_size": 2, "turn_tokens": 24})
    rows: dict[str, tuple[Any, Any]] = {
        "search-traces": ("chat", write_traces(LIBRARY)),
        "search-practice": ("prompts", write_practice(LIBRARY)),
        "search-exam": ("prompts", list(write_exam(LIBRARY))[:4]),
    }
    directory = REPOSITORY / BASE_MODEL["directory"]
    spec = RunSpec(
        run="shortened",
        recipe=Recipe.model_validate(content),
        base=ModelFile(path=str(directory), sha256=hash_directory(directory)),
        datasets={name: write_rows(out / f"{name}.jsonl", one, kind=kind) for name, (kind, one) in rows.items()},
        toolset=ToolsetSpec.model_validate({**TOOLS, "address": address}),
        device="cpu",
    )
    (out / "run.json").write_text(spec.model_dump_json(), encoding="utf-8")
    return run_here(out)


def test_every_stage_of_the_recipe_runs_against_the_service_and_measures_its_exam(tmp_path: Path, service: str):
    assert run_shortened(tmp_path, service) == 0, (tmp_path / "events.jsonl").read_text("utf-8")
    assert [event.kind for event in events_of(tmp_path, "stage_started")] == ["sft", "agentic_rft", "agentic_rft"]
    for component in ("called", "found", "exact"):
        assert sorted(metric(tmp_path, f"rollout/reward/{component}")) == [5, 6]
        assert sorted(metric(tmp_path, f"held_out/search-exam/reward/{component}")) == [4, 5, 6]


def test_without_a_service_the_recipe_ends_in_one_sentence(tmp_path: Path):
    """Exit code 3: nothing is wrong with the recipe, and the run can be resumed."""
    assert run_shortened(tmp_path, "http://127.0.0.1:9", kinds=("agentic_rft",)) == 3
    (failed,) = events_of(tmp_path, "attempt_failed")
    assert failed.error.startswith("the tool service at http://127.0.0.1:9 does not tell its tools")
