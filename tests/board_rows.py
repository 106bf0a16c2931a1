"""Boards for tests: tasks, models and evaluations of a project, written by the services that people use."""

from pathlib import Path
from typing import Any

import numpy as np

from chanote.boards.models import Board, Evaluation, Task
from chanote.boards.services import create_board, freeze_task, import_evaluation
from chanote.datasets.models import Dataset, DatasetVersion
from chanote.models.models import Model
from trainer.contract import TaskSpec
from trainer.contract.events import ScoredSample


class BoardRows:
    """A board named `suite` of a project, to which tasks and scores are added."""

    def __init__(self, project: Any, folder: Path) -> None:
        self.project, self.folder = project, folder
        dataset = Dataset.objects.create(project=project, slug="code", title="Code of law", kind="prompts")
        self.version = DatasetVersion.objects.create(
            dataset=dataset, number=1, sha256="a" * 64, rows=4, bytes=10, uses=["evaluate"]
        )
        self.board: Board = create_board(project=project, slug="suite", title="Suite")

    def task(self, name: str, **fields: Any) -> Task:
        kind = {"output_type": "generate_until", "metric": "exact_match", **fields}
        spec = TaskSpec(task=name, dataset="code@1", **kind)
        return freeze_task(project=self.project, definition=spec, dataset_version=self.version)

    def model(self, slug: str) -> Model:
        found, _ = Model.objects.get_or_create(
            project=self.project, slug=slug, defaults={"origin": "directory", "location": slug, "sha256": slug}
        )
        return found

    def score(self, slug: str, task: Task, scores: list[float | None], **fields: Any) -> Evaluation:
        path = self.folder / f"{slug}-{task.slug}.jsonl"
        path.write_text(
            "".join(
                ScoredSample(
                    item=f"item-{number}",
                    prompt=f"What is the fine number {number}?",
                    output=f"wrong {number}" if value != 1 else "forty seven",
                    target="forty seven",
                    score=value,
                    status="ok" if value is not None else "unparsable",
                ).model_dump_json()
                + "\n"
                for number, value in enumerate(scores)
            ),
            "utf-8",
        )
        return import_evaluation(task=task, model=self.model(slug), samples_path=path, board=self.board, **fields)


def rate(right: int, wrong: int, *, turned: int = 0) -> list[float]:
    """So many right, so many wrong answers; of the wrong and of the right ones `turned` change places."""
    scores = np.array([1.0] * right + [0.0] * wrong)
    scores[:turned], scores[right : right + turned] = 0.0, 1.0
    return scores.tolist()
