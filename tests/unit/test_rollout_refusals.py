"""What cannot be trained on rollouts is refused before anything is sampled, with the field's name."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.rollout_runs import GRPO, INK, question_rows, write_base, write_rollout_run
from tests.trainer_runs import events_of, run_here, text_rows, write_rows
from trainer.contract import Recipe
from trainer.contract.overlap import find_overlap

EXAM = {
    "task": "exam",
    "dataset": "exam@1",
    "output_type": "generate_until",
    "metric": "exact_match",
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"))


def refusal(out: Path, stage: dict[str, Any], base: Path, capsys: pytest.CaptureFixture[str], **fields: Any) -> str:
    """What the trainer says when it refuses; nothing was sampled."""
    assert run_here(write_rollout_run(out, [stage], base, **fields)) == 2
    assert not (out / "rollouts").exists()
    assert events_of(out, "attempt_failed")
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"group_size": 3}, "group_size 3 does not divide batch_size 8"),
        ({"group_size": 1}, "group_size"),
        ({"gradient_accumulation": 3}, "gradient_accumulation 3 does not divide batch_size 8"),
        ({"sampling": {"max_new_tokens": 96}}, "leaves no room for a prompt within sequence_length 96"),
        ({"rewards": []}, "rewards"),
        ({"rewards": [{"kind": "overlong", "buffer": 8, "weight": 0}]}, "rewards: every weight is 0"),
        ({"ratio": "sequence"}, "ratio sequence goes with aggregation sequence_mean, not token_mean"),
        ({"updates_per_rollout": 3}, "updates_per_rollout 3 does not divide steps 4"),
        ({"updates_per_rollout": 2, "checkpoint_every": 3}, "does not divide checkpoint_every 3"),
        ({"rewards": [{"kind": "overlong", "buffer": 17}]}, "buffer: 17 is more than the limit of 16"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused_by_the_contract(changes: dict[str, Any], sentence: str):
    with pytest.raises(ValidationError, match=sentence):
        Recipe.model_validate({"base": "tiny", "stages": [{**GRPO, **changes}]})


def test_a_recipe_without_rewards_names_the_field():
    stage = {key: value for key, value in GRPO.items() if key != "rewards"}
    with pytest.raises(ValidationError, match="rewards"):
        Recipe.model_validate({"base": "tiny", "stages": [stage]})


def test_rows_of_another_kind_are_refused_where_they_stand(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    said = refusal(tmp_path / "data", {**GRPO, "data": [{"dataset": "law@1"}]}, base, capsys)
    assert "recipe.stages[0].data[0]: law@1 holds text rows, and this field takes prompts rows" in said
    said = refusal(tmp_path / "corpus", {**INK, "corpus": [{"dataset": "chat@1"}]}, base, capsys)
    assert "recipe.stages[0].corpus[0]: chat@1 holds chat rows, and this field takes text rows" in said


def test_prompts_that_leave_no_room_are_refused_or_dropped(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    short = {**GRPO, "steps": 1, "sequence_length": 53}
    said = refusal(tmp_path / "refused", short, base, capsys)
    assert "recipe.stages[0].sequence_length: " in said
    assert "prompts may have 37 tokens; raise sequence_length" in said
    out = write_rollout_run(tmp_path / "dropped", [{**short, "long_prompts": "drop"}], base)
    assert run_here(out) == 0
    notes = events_of(out, "stage_started")[0].notes
    assert 0 < notes["rows_too_long"] < 12
    assert notes["rows_too_long"] + notes["prompts"] == 12


def test_a_stage_longer_than_the_context_is_refused(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    said = refusal(tmp_path, {**GRPO, "sequence_length": 400}, base, capsys)
    assert "recipe.stages[0].sequence_length: 400 tokens do not fit the policy's context of 128" in said


def test_rows_without_what_a_reward_compares_with_are_refused(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    rows = [{"question": "When?"}, *question_rows(3)]
    datasets = {"questions@1": write_rows(tmp_path / "questions.jsonl", rows, "prompts")}
    said = refusal(tmp_path / "run", {**GRPO, "rewards": [{"kind": "exact"}]}, base, capsys, datasets=datasets)
    assert "recipe.stages[0].rewards[0] (exact): 1 of 4 rows of questions@1" in said


def test_a_corpus_that_holds_what_a_task_asks_is_refused(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    questions = question_rows(3)
    corpus = [*text_rows(5), {"text": f"Exercises\n{questions[1]['question'].upper()}\nOn day 2."}]
    datasets = {
        "questions@1": write_rows(tmp_path / "questions.jsonl", question_rows(8)[3:], "prompts"),
        "law@1": write_rows(tmp_path / "law.jsonl", corpus, "text"),
        "exam@1": write_rows(tmp_path / "exam.jsonl", questions, "prompts"),
    }
    said = refusal(tmp_path / "run", INK, base, capsys, datasets=datasets, tasks={"exam": EXAM})
    assert "recipe.stages[0].corpus[0]: row 6 of law@1 holds what row 2 of exam@1 asks" in said


def test_facts_that_answer_a_question_are_no_overlap():
    items = [{"question": "When does the market open?", "answer": "On day 3."}]
    assert find_overlap([{"text": "The market opens.\nOn day 3."}], items) is None
    assert find_overlap([{"text": "a"}, {"text": " When does  the market\nopen? "}], items) == (1, 0)
    assert find_overlap([{"text": "the text"}], [{"text": "other"}, {"text": "The text"}]) == (0, 1)
    chat = [{"messages": [{"role": "user", "content": "When?"}, {"role": "assistant", "content": "Now."}]}]
    assert find_overlap([{"text": "x\nwhen?\ny"}], chat) == (0, 0)
    assert find_overlap([{"text": ""}], [{"question": ""}]) is None
