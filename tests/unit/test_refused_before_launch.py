"""Recipes that cannot work, by both doors: run.json in the trainer, and the platform before it launches anything.

The wrong stage is the second one throughout: it must be named before the first one has done anything.
"""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from chanote.datasets.services import import_dataset
from chanote.recipes.checking import check_data
from chanote.runs.freezing import LaunchRefused, find_obstacles
from chanote.runs.models import Run
from chanote.runs.services import launch_run
from tests.every_algorithm import STAGES, write_models, write_stages
from tests.installation import add_texts, tiny_stage, write_recipe
from tests.judge_server import grades, serve
from tests.rollout_runs import GRPO, INK, question_rows
from tests.trainer_runs import TINY, events_of, run_here, text_rows, write_rows
from trainer.contract import Recipe
from trainer.contract.hashing import hash_directory

FIRST = {**STAGES["cpt"], "steps": 1}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def refusal(models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """What the trainer says of a recipe whose second stage is this one; the first was not begun."""

    def refuse(stage: dict[str, Any], **changes: Any) -> str:
        out = write_stages(tmp_path / f"run-{len(list(tmp_path.iterdir()))}", [FIRST, stage], models)
        spec = json.loads((out / "run.json").read_text()) | changes
        (out / "run.json").write_text(json.dumps(spec))
        assert run_here(out) == 2
        assert events_of(out, "stage_started") == []
        assert len(events_of(out, "attempt_failed")) == 1
        return capsys.readouterr().err

    return refuse


SHAPES = [
    ({**GRPO, "group_size": 3}, "stages[1]", "group_size 3 does not divide batch_size 8"),
    (
        {**STAGES["opd"], "sampling": {"max_new_tokens": 96}},
        "stages[1]",
        "sampling.max_new_tokens 96 leaves no room for a prompt within sequence_length 96",
    ),
    ({**GRPO, "gradient_accumulation": 3}, "stages[1]", "gradient_accumulation 3 does not divide batch_size 8"),
    (
        {**GRPO, "rewards": [{"kind": "overlong", "buffer": 17}]},
        "stages[1]",
        "rewards[0].buffer: 17 is more than the limit of 16 tokens",
    ),
]


@pytest.mark.parametrize(("stage", "field", "sentence"), SHAPES)
def test_numbers_that_do_not_fit_each_other(stage: dict[str, Any], field: str, sentence: str, refusal: Any):
    assert refusal(stage).startswith(f"recipe.{field}: {sentence}")
    recipe, [problem] = check_data({"stages": [tiny_stage(2), stage]})
    assert recipe is None
    assert problem.field.startswith(field)
    assert sentence.removeprefix("sampling.") in str(problem) or sentence in str(problem)


def test_a_sequence_longer_than_the_context(refusal: Any):
    said = refusal({**GRPO, "sequence_length": 400})
    assert said.startswith("recipe.stages[1].sequence_length: 400 tokens do not fit the policy's context of 128")


def test_prompts_that_leave_no_room_for_the_longest_completion(refusal: Any):
    said = refusal({**GRPO, "sequence_length": 53})
    assert said.startswith("recipe.stages[1].sequence_length: ")
    assert "prompts of questions@1" in said
    assert "prompts may have 37 tokens; raise sequence_length, lower sampling.max_new_tokens" in said


def test_a_teacher_with_another_tokenizer(refusal: Any, tmp_path: Path):
    import torch

    from trainer.contract.stages.cpt import ModelShape
    from trainer.policy import initialise_policy
    from trainer.tokenizer import train_tokenizer

    tokenizer = train_tokenizer(["other words"] * 9, vocab_size=300, context_length=128)
    stranger = initialise_policy(ModelShape(**TINY), tokenizer, seed=3, device=torch.device("cpu"))
    stranger.save(tmp_path / "stranger")
    file = {"path": str(tmp_path / "stranger"), "sha256": hash_directory(tmp_path / "stranger")}
    said = refusal(STAGES["opd"], models={"teacher": file})
    assert said.startswith("recipe.stages[1].teacher: teacher has another tokenizer than the policy (")


def test_a_teacher_that_is_not_there(refusal: Any, tmp_path: Path):
    said = refusal(STAGES["opd"], models={"teacher": {"path": str(tmp_path / "gone"), "sha256": "0" * 64}})
    assert said.startswith(f"models.teacher.path: {tmp_path / 'gone'} is no directory")
    (tmp_path / "gone").mkdir()
    said = refusal(STAGES["opd"], models={"teacher": {"path": str(tmp_path / "gone"), "sha256": "0" * 64}})
    assert said.startswith(f"models.teacher.path: {tmp_path / 'gone'} has no tokenizer that can be read")


@pytest.mark.parametrize("asked", ["task", "held_out"])
def test_a_corpus_that_holds_what_is_asked_later(asked: str, refusal: Any, tmp_path: Path):
    leaky = [*text_rows(5), {"text": f"Exercise\n{question_rows(24)[22]['question']}"}]
    datasets = {
        "law@1": write_rows(tmp_path / "law.jsonl", leaky, "text"),
        "questions@1": write_rows(tmp_path / "questions.jsonl", question_rows(8), "prompts"),
        "exam@1": write_rows(tmp_path / "exam.jsonl", question_rows(24)[20:], "prompts"),
    }
    changes: dict[str, Any] = {"datasets": {name: file.model_dump() for name, file in datasets.items()}}
    if asked == "task":
        task = {"task": "exam", "dataset": "exam@1", "output_type": "generate_until", "metric": "exact_match"}
        said = refusal(INK, **changes, tasks={"exam": task})
    else:
        said = refusal({**INK, "held_out": [{"dataset": "exam@1"}]}, **changes)
    who = "task exam" if asked == "task" else "held_out[0]"
    assert said.startswith(
        f"recipe.stages[1].corpus[0]: row 6 of law@1 holds what row 3 of exam@1 asks, so {who} would measure"
    )


def test_a_judge_that_cannot_be_reached(refusal: Any):
    with serve(lambda *_: grades(2)) as server:
        url = server.url
    judge = {"kind": "judge", "endpoint": {"base_url": url, "model": "judge"}}
    said = refusal({**STAGES["rf_nll"], "rewards": [judge]})
    assert said.startswith(f"recipe.stages[1].rewards[0].endpoint: {url} cannot be reached")


def test_rows_without_what_a_reward_needs(refusal: Any):
    said = refusal({**GRPO, "rewards": [{"kind": "citation_f1"}]})
    assert said.startswith("recipe.stages[1].rewards[0] (citation_f1): 20 of 20 rows of questions@1 give it nothing")


@pytest.mark.django_db
def test_the_platform_launches_none_of_them(project: Any, researcher: Any):
    def add(slug: str, kind: str, rows: list[dict[str, Any]], *uses: str) -> None:
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        import_dataset(
            project=project, slug=slug, kind=kind, file=io.BytesIO(content), format="jsonl", uses=list(uses),
            licence="CC0-1.0", actor=researcher,
        )  # fmt: skip

    add_texts(project)
    add("questions", "prompts", question_rows(8), "train")
    add("exam", "prompts", question_rows(24)[20:], "evaluate")
    add("leaky", "text", [*text_rows(5), {"text": question_rows(24)[22]["question"]}], "train")
    with serve(lambda *_: grades(2)) as server:
        url = server.url
    judge = {"kind": "judge", "endpoint": {"base_url": url, "model": "judge"}}
    asked = {"data": [{"dataset": "questions"}]}
    wrong = {
        "stages[1].sequence_length": {**GRPO, **asked, "sequence_length": 400},
        "stages[1].teacher": {**STAGES["opd"], **asked, "teacher": "nobody"},
        "stages[1].corpus[0].dataset": {
            **{**INK, **asked, "corpus": [{"dataset": "leaky"}], "held_out": [{"dataset": "exam"}]}
        },
        "stages[1].rewards[0].endpoint": {**GRPO, **asked, "rewards": [judge]},
    }
    for field, stage in wrong.items():
        revision = write_recipe(project, [tiny_stage(2), stage])
        with pytest.raises(LaunchRefused) as refused:
            launch_run(revision=revision, owner=researcher)
        assert field in [problem.field for problem in refused.value.problems]
    assert Run.objects.count() == 0
    sound = Recipe.model_validate({"stages": [tiny_stage(2), {**INK, **asked, "corpus": [{"dataset": "texts"}]}]})
    assert find_obstacles(project, sound) == []
