"""Stored answers scored anew: as if the model had been asked again, and refused where it would have to be."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from trainer.__main__ import main
from trainer.contract import ExitCode

ROWS = [
    {"id": "a", "question": "2 + 2?", "answer": "4", "choices": ["4", "five of them"], "right": 0},
    {"id": "b", "question": "3 + 3?", "answer": "6", "choices": ["7", "six of them"], "right": 1},
    {"id": "c", "question": "4 + 4?", "answer": "8", "choices": ["8", "9"], "right": 0},
]
WRITTEN: dict[str, Any] = {"task": "sums", "dataset": "sums", "output_type": "generate_until", "metric": "exact_match"}
CHOSEN: dict[str, Any] = {
    "task": "picks", "dataset": "sums", "output_type": "multiple_choice", "metric": "acc",
    "doc_to_target": "{{right}}",
}  # fmt: skip
LAST_NUMBER = [{"name": "n", "filter": [{"function": "regex", "regex_pattern": r"(\d+)", "group_select": -1}]}]


def sample(item: str, output: str = "", **more: Any) -> dict[str, Any]:
    row = next(row for row in ROWS if row["id"] == item.partition("/")[0])
    return {
        "item": item, "prompt": f"<user>{row['question']}<end>", "output": output, "target": row["answer"],
        "score": 0.0, "status": "ok", "tokens": 3, "detail": {"stop_reason": "end_token"}, **more,
    }  # fmt: skip


ANSWERS = [
    sample("a", "It is 4"),
    sample("b", "So 3 + 3 is 6", status="truncated", detail={"stop_reason": "length"}),
    sample("c", score=None, status="left_out", detail={"reason": "the service failed"}),
]
LIKELIHOODS = [
    sample("a", "4", detail={"loglikelihoods": [-2.0, -3.0], "chosen": 0, "answer": 0}),
    sample("b", "7", detail={"loglikelihoods": [-2.0, -3.0], "chosen": 0, "answer": 1}),
    sample("c", "8", detail={"loglikelihoods": [-1.0, -2.0], "chosen": 0, "answer": 0}),
]


@pytest.fixture
def rescore(tmp_path: Path):
    def run(
        was: dict[str, Any], now: dict[str, Any], samples: list[dict[str, Any]], rows: list[Any] = ROWS
    ) -> list[dict[str, Any]]:
        for name, content in (("was", was), ("now", now)):
            (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
        for name, lines in (("samples", samples), ("rows", rows)):
            (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        words = ["--samples", "samples.jsonl", "--was", "was.yaml", "--task", "now.yaml", "--data", "rows.jsonl"]
        paths = [word if word.startswith("--") else str(tmp_path / word) for word in words]
        if (status := main(["rescore", *paths, "--out", str(tmp_path / "out")])) != ExitCode.FINISHED:
            assert status == ExitCode.INVALID_SPEC
            return []
        found = (tmp_path / f"out/evaluations/{now['task']}.jsonl").read_text().splitlines()
        return [json.loads(line) for line in found]

    return run


def test_a_filter_scores_what_was_written_before(rescore, tmp_path: Path):
    first, second, third = rescore(WRITTEN, {**WRITTEN, "task": "sums-2", "filter_list": LAST_NUMBER}, ANSWERS)
    assert (first["score"], first["output"], first["prompt"]) == (1.0, "It is 4", ANSWERS[0]["prompt"])
    assert (second["score"], second["status"]) == (1.0, "truncated")
    assert (third["score"], third["status"], third["detail"]["reason"]) == (None, "left_out", "the service failed")
    assert len(first["detail"]["rescored_from"]) == 64
    # What was there stays as it is.
    assert json.loads((tmp_path / "samples.jsonl").read_text().splitlines()[0]) == ANSWERS[0]


def test_another_metric_chooses_by_the_kept_likelihoods(rescore):
    found = rescore(CHOSEN, {**CHOSEN, "metric": "acc_norm"}, LIKELIHOODS)
    # Per character -2 / 1 against -3 / 11: the longer option wins.
    assert [one["output"] for one in found] == ["five of them", "six of them", "8"]
    assert [one["score"] for one in found] == [0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("was", "now", "sentence"),
    [
        (WRITTEN, {**WRITTEN, "doc_to_text": "Q: {{question}}"}, "doc_to_text: is 'Q: {{question}}' and was"),
        (WRITTEN, {**WRITTEN, "generation_kwargs": {"max_gen_toks": 9}}, "generation_kwargs: is"),
        (WRITTEN, CHOSEN, "output_type: is 'multiple_choice'"),
    ],
)
def test_a_changed_question_needs_the_model(rescore, capsys, was, now, sentence):
    assert rescore(was, now, ANSWERS) == []
    said = capsys.readouterr().err
    assert sentence in said
    assert "evaluate the model again" in said


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([*ROWS, {"id": "d", "question": "5 + 5?", "answer": "10"}], "item d of the rows has no answer"),
        (ROWS[:2], "holds answers to items that the rows do not have"),
        ([ROWS[0], {**ROWS[1], "question": "3 - 3?"}, ROWS[2]], "item b was asked something else"),
    ],
)
def test_other_rows_are_refused(rescore, capsys, rows, sentence):
    assert rescore(WRITTEN, {**WRITTEN, "filter_list": LAST_NUMBER}, ANSWERS, rows) == []
    assert sentence in capsys.readouterr().err
