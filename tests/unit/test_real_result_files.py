"""Files that the harnesses themselves wrote (see `tests/result_files/README.md`), through our importers."""

import gzip
from pathlib import Path

import pytest

from chanote.boards.importing import ImportedResult, Parsed, read_results
from chanote.boards.imports import AGREE, compare_reported

FILES = Path(__file__).resolve().parent.parent / "result_files"


def read(pattern: str, beside: str = "") -> tuple[str, Parsed]:
    (path,) = FILES.glob(pattern)
    data = path.read_bytes()
    held = next(FILES.glob(beside)).read_bytes() if beside else None
    packed = path.suffix == ".gz"
    return read_results(path.name.removesuffix(".gz"), gzip.decompress(data) if packed else data, held)


def assert_its_own_figures_come_out(result: ImportedResult) -> None:
    """`compare_reported` says so of every figure that agrees within AGREE."""
    assert AGREE == 1e-6
    assert result.reported_mean is not None
    assert result.reported_error is not None
    notes = compare_reported(result)
    assert len(notes) == 2
    assert all(note.endswith("as the harness states it.") for note in notes), notes


@pytest.mark.parametrize(("task", "metrics"), [("choices", ["acc", "acc_norm"]), ("answers", ["", ",number"])])
def test_lm_eval_states_the_errors_that_we_find(task: str, metrics: list[str]):
    format_, parsed = read(f"samples_market_{task}_*", "results_*.json")
    assert (format_, parsed.skipped) == ("lm_eval", [])
    named = metrics if task == "choices" else [f"exact_match{one}" for one in metrics]
    assert [one.metric for one in parsed.results] == named
    for result in parsed.results:
        assert (result.task, result.model, len(result.items)) == (f"market_{task}", "demo-base", 24)
        assert (result.settings["shots"], result.settings["version"], result.program) == (0, 1.0, "0.4.13")
        assert_its_own_figures_come_out(result)


def test_a_choice_is_shown_as_the_option_that_was_chosen():
    _, parsed = read("samples_market_choices_*")
    for result in parsed.results:
        for item in result.items:
            assert (item.output == item.target) == (item.score == 1.0)
            assert not item.output.startswith("[")


def test_how_lm_eval_drew_its_answers_belongs_to_the_row_and_not_to_the_task():
    _, parsed = read("samples_market_answers_*", "results_*.json")
    result = parsed.results[0]
    assert result.decoding["generation"]["max_gen_toks"] == 24
    assert "generation" not in result.settings


@pytest.mark.parametrize(
    ("pattern", "items", "epochs", "temperature"), [("*.eval", 20, 1, 0.0), ("*_market_*.json.gz", 5, 3, 1.0)]
)
def test_inspect_states_the_errors_that_we_find(pattern: str, items: int, epochs: int, temperature: float):
    format_, parsed = read(pattern)
    assert (format_, parsed.skipped) == ("inspect", [])
    assert [one.metric for one in parsed.results] == ["includes", "exact"]
    for result in parsed.results:
        assert (result.task, result.model, len(result.items)) == ("market", "openai-api/chanote/demo-base", items)
        assert (result.settings["epochs"], result.decoding["temperature"]) == (epochs, temperature)
        assert result.program == "0.3.285"
        assert all(item.prompt and item.output and item.target for item in result.items)
        assert_its_own_figures_come_out(result)


def test_epochs_of_one_sample_are_one_item():
    _, parsed = read("*_market_*.json.gz")
    assert any(0 < (item.score or 0) < 1 for item in parsed.results[0].items)
