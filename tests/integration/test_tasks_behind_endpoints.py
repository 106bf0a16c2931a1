"""Tasks without tools behind an endpoint: the scores of the model directory, retries, resuming, and plain refusals."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.harness_tasks import DEMO_MODEL, make_rows
from tests.judge_server import Reply, says, serve
from tests.model_serving import Endpoint, serve_here
from trainer.contract import ExitCode
from trainer.evaluation.command import main
from trainer.evaluation.endpoint import asking
from trainer.serving.policy import read_policy

ITEMS = 8
CHOICES: dict[str, Any] = {
    "task": "choices",
    "dataset": "market",
    "output_type": "multiple_choice",
    "metric": "acc",
    "doc_to_text": "{{dialogue}}",
    "doc_to_target": "{{right}}",
    "num_fewshot": 1,
}
ANSWERS: dict[str, Any] = {
    "task": "answers",
    "dataset": "market",
    "output_type": "generate_until",
    "metric": "exact_match",
    "chat": True,
    "generation_kwargs": {"max_gen_toks": 24, "until": ["\n"]},
}
TEXTS: dict[str, Any] = {
    "task": "texts",
    "dataset": "market",
    "output_type": "loglikelihood_rolling",
    "metric": "perplexity",
    "doc_to_text": "{{law_name}}\n",
    "doc_to_target": "{{dialogue}}",
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(asking, "LONGEST_WAIT", 0.02)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with serve_here(read_policy(DEMO_MODEL, device="cpu")) as served:
        yield served


@pytest.fixture
def evaluate(tmp_path: Path) -> Callable[..., int]:
    def run(*words: str, task: dict[str, Any], out: str = "out", count: int = ITEMS) -> int:
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in make_rows(count)))
        (tmp_path / "task.yaml").write_text(yaml.safe_dump(task))
        asked = ["--task", str(tmp_path / "task.yaml"), "--data", f"market={tmp_path / 'rows.jsonl'}"]
        return main([*asked, "--out", str(tmp_path / out), *words])

    return run


def read(folder: Path, task: dict[str, Any]) -> list[dict[str, Any]]:
    lines = (folder / f"evaluations/{task['task']}.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize(
    "task", [CHOICES, {**CHOICES, "metric": "acc_norm"}, ANSWERS, TEXTS], ids=lambda one: one["metric"]
)
def test_an_endpoint_gives_the_scores_of_its_model_directory(evaluate, endpoint: Endpoint, tmp_path, task):
    there = ["--endpoint", f"{endpoint.address}/v1", "--model", "tiny"]
    assert evaluate(*there, task=task) == ExitCode.FINISHED
    assert evaluate("--model", str(DEMO_MODEL), "--device", "cpu", task=task, out="own") == ExitCode.FINISHED
    remote, own = read(tmp_path / "out", task), read(tmp_path / "own", task)
    assert len(own) == ITEMS - task.get("num_fewshot", 0)
    for one, other in zip(remote, own, strict=True):
        assert {name: one[name] for name in ("item", "output", "target", "status", "tokens")} == {
            name: other[name] for name in ("item", "output", "target", "status", "tokens")
        }
        assert one["score"] == pytest.approx(other["score"], abs=1e-4)
        for name in ("loglikelihoods", "loglikelihood"):
            assert one["detail"].get(name) == pytest.approx(other["detail"].get(name), abs=1e-3)


def test_an_endpoint_without_log_probabilities_is_refused_in_a_sentence(evaluate, capsys: pytest.CaptureFixture[str]):
    no = Reply({"error": {"message": "echo is not supported"}}, status=400)
    with serve(lambda number, body: no) as there:
        assert evaluate("--endpoint", there.url, "--model", "judge", task=CHOICES) == ExitCode.INVALID_SPEC
    said = capsys.readouterr().err
    assert "choices needs log-probabilities of given tokens" in said
    assert "echo is not supported" in said
    assert "evaluate a model directory" in said


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [({"chat": True}, "set chat to false"), ({"doc_to_text": "", "num_fewshot": 0}, "give it a prompt in doc_to_text")],
)
def test_what_an_endpoint_cannot_be_asked_is_refused(evaluate, endpoint, capsys, changed, sentence):
    there = ["--endpoint", f"{endpoint.address}/v1", "--model", "tiny"]
    assert evaluate(*there, task={**CHOICES, **changed}) == ExitCode.INVALID_SPEC
    assert sentence in capsys.readouterr().err


def test_a_chat_has_its_solved_items_as_turns_and_answers_end_at_stop_strings(evaluate, tmp_path):
    task = {**ANSWERS, "num_fewshot": 2}
    with serve(lambda number, body: says("An answer.\nAnd more")) as there:
        assert evaluate("--endpoint", there.url, "--model", "judge", task=task, count=3) == ExitCode.FINISHED
    (body,) = there.asked
    assert [one["role"] for one in body["messages"]] == ["user", "assistant", "user", "assistant", "user"]
    assert (body["max_tokens"], body["stop"], body["temperature"]) == (24, ["\n"], 0.0)
    (sample,) = read(tmp_path / "out", task)
    assert (sample["output"], sample["score"]) == ("An answer.", 0.0)


def test_a_service_that_stumbles_is_asked_again_and_one_that_fails_leaves_the_item_out(evaluate, tmp_path, capsys):
    right = [row["answer"] for row in make_rows(2)]

    def script(number: int, body: dict[str, Any]) -> Reply:
        if body["messages"][0]["content"].endswith(make_rows(1)[0]["question"]):
            return Reply({}, status=503) if number < 2 else says(right[0])
        return Reply({}, status=500)

    with serve(script) as there:
        words = ["--endpoint", there.url, "--model", "judge", "--concurrency", "1", "--attempts", "3"]
        assert evaluate(*words, task=ANSWERS, count=2) == ExitCode.FINISHED
    first, second = read(tmp_path / "out", ANSWERS)
    assert (first["score"], second["score"], second["status"]) == (1.0, None, "left_out")
    assert len(there.asked) == 6
    assert "1 items are left out" not in capsys.readouterr().err


def test_an_evaluation_that_was_broken_off_asks_only_what_is_missing(evaluate, tmp_path, capsys):
    refuse = Reply({"error": {"message": "no credit"}}, status=403)
    with serve(lambda number, body: says("An answer.") if number < 3 else refuse) as there:
        words = ["--endpoint", there.url, "--model", "judge", "--concurrency", "1"]
        assert evaluate(*words, task=ANSWERS) == ExitCode.FAILED
        assert "What was answered is kept" in capsys.readouterr().err
        there.script = lambda number, body: says("Another.", finish_reason="length")
        assert evaluate(*words, task=ANSWERS) == ExitCode.FINISHED
    assert len(there.asked) == 4 + (ITEMS - 3)
    samples = read(tmp_path / "out", ANSWERS)
    assert [one["output"] for one in samples] == ["An answer."] * 3 + ["Another."] * (ITEMS - 3)
    assert [one["status"] for one in samples[3:]] == ["truncated"] * (ITEMS - 3)
