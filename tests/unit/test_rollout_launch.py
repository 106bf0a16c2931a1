"""A recipe on rollouts at launch: what stands in its way, and what is frozen."""

import io
import json
from typing import Any

import pytest

from chanote.boards.models import Task
from chanote.datasets.services import import_dataset
from chanote.runs.freezing import find_obstacles, freeze_recipe
from tests.installation import add_texts, tiny_stage
from tests.rollout_runs import INK, question_rows
from tests.trainer_runs import text_rows
from trainer.contract import Recipe

pytestmark = pytest.mark.django_db


def add_rows(project: Any, slug: str, kind: str, rows: list[dict[str, Any]], uses: tuple[str, ...]) -> Any:
    """A dataset as a user would import it."""
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return import_dataset(
        project=project,
        slug=slug,
        kind=kind,
        file=io.BytesIO(lines.encode()),
        format="jsonl",
        uses=list(uses),
        licence="CC0-1.0",
        actor=project.memberships.first().user,
    )


@pytest.fixture
def exam(project: Any, researcher: Any) -> Task:
    version = add_rows(project, "exam", "prompts", question_rows(12)[8:], ("evaluate",))
    definition = {
        "task": "exam",
        "dataset": "exam",
        "output_type": "generate_until",
        "metric": "exact_match",
    }
    return Task.objects.create(project=project, slug="exam", number=1, definition=definition, dataset_version=version)


def recipe(*, corpus: str = "texts") -> Recipe:
    stage = {**INK, "data": [{"dataset": "questions"}], "corpus": [{"dataset": corpus}]}
    return Recipe.model_validate({"stages": [tiny_stage(2), stage, {"kind": "evaluate", "tasks": ["exam"]}]})


def obstacles(project: Any, recipe: Recipe) -> dict[str, str]:
    return {problem.field: problem.message for problem in find_obstacles(project, recipe)}


@pytest.fixture
def datasets(project: Any, exam: Task) -> None:
    add_texts(project)
    add_rows(project, "questions", "prompts", question_rows(8), ("train",))


def test_every_dataset_of_the_stage_is_frozen_by_its_version(project: Any, datasets: None):
    assert obstacles(project, recipe()) == {}
    frozen = freeze_recipe(project, recipe())
    assert sorted(frozen["datasets"]) == ["exam@1", "questions@1", "texts@1"]
    assert frozen["recipe"]["stages"][1]["corpus"][0]["dataset"] == "texts@1"
    assert frozen["recipe"]["stages"][1]["data"][0]["dataset"] == "questions@1"


def test_a_corpus_is_named_where_it_is_missing_of_another_kind_or_not_to_be_trained_on(project: Any, datasets: None):
    assert "nowhere is no dataset" in obstacles(project, recipe(corpus="nowhere"))["stages[1].corpus[0].dataset"]
    found = obstacles(project, recipe(corpus="questions"))
    assert "questions@1 holds prompts rows" in found["stages[1].corpus[0].dataset"]
    add_texts(project, slug="rulings", uses=("evaluate",), count=9)
    found = obstacles(project, recipe(corpus="rulings"))
    assert "for evaluation only" in found["stages[1].corpus[0].dataset"]


def test_a_corpus_that_holds_what_a_task_asks_is_refused_before_launch(project: Any, datasets: None):
    asked = question_rows(12)[9]["question"]
    add_rows(project, "leaky", "text", [*text_rows(3), {"text": f"Exercise\n{asked}"}], ("train",))
    found = obstacles(project, recipe(corpus="leaky"))
    assert list(found) == ["stages[1].corpus[0].dataset"]
    assert "row 4 of leaky@1 holds what row 2 of exam@1 asks, so task exam" in found["stages[1].corpus[0].dataset"]
