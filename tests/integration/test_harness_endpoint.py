"""lm-evaluation-harness itself against our endpoint, beside our own evaluation of the same task files and items.

Runs where the harness is to be had: `make test-harness` makes an environment of its own, or HARNESS_PYTHON names one.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.harness_tasks import DEMO_MODEL, ITEMS, write_tasks
from tests.model_serving import serve_model
from tests.trainer_runs import REPOSITORY
from trainer.__main__ import main

_made = REPOSITORY / ".venv-harness/bin/python"
PEER = os.environ.get("HARNESS_PYTHON") or (str(_made) if _made.exists() else "")
NAMES = ("market_choices", "market_answers", "market_texts")
ROUNDING = 1e-3
"""Nats. The harness and we put other sequences beside one another."""

pytestmark = [
    pytest.mark.harness,
    pytest.mark.skipif(not PEER, reason="no Python with lm_eval; make test-harness makes one"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("harness")
    write_tasks(made / "tasks")
    return made


@pytest.fixture(scope="module")
def ours(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Samples of each of our tasks, read from the same files."""
    words: list[str] = []
    for name in NAMES:
        read = ["tasks", "read", str(folder / f"tasks/{name}.yaml"), "--dataset", "market", "--out", str(folder / "t")]
        assert main(read) == 0
    for path in sorted((folder / "t").glob("*.yaml")):
        words += ["--task", str(path)]
    words += ["--data", f"market={folder / 'tasks/rows.jsonl'}", "--out", str(folder / "ours"), "--device", "cpu"]
    assert main(["evaluate", "--model", str(DEMO_MODEL), *words]) == 0
    return {
        path.stem: [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        for path in (folder / "ours/evaluations").glob("*.jsonl")
    }


@pytest.fixture(scope="module", params=["True 1", "False 4"], ids=["tokens", "texts by four"])
def theirs(folder: Path, request: pytest.FixtureRequest) -> tuple[dict[str, Any], dict[str, Any]]:
    """(results by task, samples by task, filter and item); prompts go as tokens, or as texts several in a request."""
    tokens, size = request.param.split()
    out = folder / f"out-{size}"
    with serve_model(folder, DEMO_MODEL) as endpoint:
        settings = f"model=tiny,base_url={endpoint.address}/v1/completions,tokenizer={DEMO_MODEL},max_length=512"
        command = [
            "-m", "lm_eval", "--model", "local-completions", "--model_args", f"{settings},tokenized_requests={tokens}",
            "--batch_size", size,
            "--tasks", ",".join(NAMES), "--include_path", str(folder / "tasks"), "--output_path", str(out),
            "--log_samples",
        ]  # fmt: skip
        alone = {"HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "PYTHONPATH": ""}
        done = subprocess.run([PEER, *command], capture_output=True, text=True, check=False, env=os.environ | alone)
    assert done.returncode == 0, done.stderr[-3000:]
    (file,) = out.rglob("results_*.json")
    samples: dict[str, Any] = {}
    for name in NAMES:
        (path,) = out.rglob(f"samples_{name}_*.jsonl")
        for line in path.read_text("utf-8").splitlines():
            row = json.loads(line)
            samples.setdefault(f"{name},{row['filter']}", {})[row["doc"]["id"]] = row
    return json.loads(file.read_text("utf-8"))["results"], samples


def scores(samples: list[dict[str, Any]]) -> dict[str, float]:
    return {one["item"]: one["score"] for one in samples}


@pytest.mark.parametrize("metric", ["acc", "acc_norm"])
def test_choices_and_accuracy_are_equal(ours, theirs, metric: str):
    results, samples = theirs
    mine, found = ours[f"market_choices-{metric}"], samples["market_choices,none"]
    assert scores(mine) == {item: row[metric] for item, row in found.items()}
    right = sum(scores(mine).values())
    assert results["market_choices"][f"{metric},none"] == right / ITEMS
    assert 0 < right < ITEMS  # else nothing was told apart


def test_every_option_has_the_same_log_likelihood(ours, theirs):
    found = theirs[1]["market_choices,none"]
    for one in ours["market_choices-acc"]:
        values = [float(pair[0]) for pair in found[one["item"]]["filtered_resps"]]
        assert one["detail"]["loglikelihoods"] == pytest.approx(values, abs=ROUNDING)


@pytest.mark.parametrize(("task", "name"), [("market_answers", "none"), ("market_answers-number", "number")])
def test_written_answers_and_their_accuracy_are_equal(ours, theirs, task: str, name: str):
    results, samples = theirs
    mine, found = ours[task], samples[f"market_answers,{name}"]
    assert {one["item"]: one["output"] for one in mine} == {item: row["resps"][0][0] for item, row in found.items()}
    assert scores(mine) == {item: row["exact_match"] for item, row in found.items()}
    right = sum(scores(mine).values())
    assert results["market_answers"][f"exact_match,{name}"] == right / ITEMS
    assert 0 < right < ITEMS


def test_whole_texts_have_the_same_log_likelihood(ours, theirs):
    found = theirs[1]["market_texts,none"]
    for one in ours["market_texts"]:
        (value,) = found[one["item"]]["filtered_resps"][:1]
        assert one["detail"]["loglikelihood"] == pytest.approx(float(value), abs=ROUNDING)
