"""Who judges a task, on which scale, and which tasks ask the same though others judge."""

from dataclasses import dataclass
from typing import Any, Literal

from chanote.boards.imports import slugify
from chanote.boards.models import Task
from chanote.boards.services import hash_content
from trainer.contract import TaskSpec
from trainer.contract.judging import GRADE

IMPORTED: dict[str, Literal["grade", "wins"]] = {
    "mt_bench": "grade",
    "mt_bench_pairs": "wins",
    "pair_scores": "wins",
    "alpaca_eval": "wins",
}
"""Formats whose scores a judge gave, and what it said."""
_OF_JUDGE = ("judge", "judge_prompt")


@dataclass(frozen=True)
class Judging:
    """How a task is judged."""

    judges: tuple[str, ...]
    prompt: str
    """Hash, or another harness's name, of the words that judges are asked with; empty where nobody knows."""
    scale: Literal["grade", "wins"]
    opponent: str
    """Slug of the model that answers are compared with; empty for grades."""
    family: str
    """Hash of the task without its judges."""
    ours: bool
    """The answers lie here; of imported results often only the scores do."""
    combine: str = ""

    @property
    def who(self) -> str:
        names = self.judges
        return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"

    @property
    def prompt_name(self) -> str:
        return self.prompt[:8] if self.ours else self.prompt

    @property
    def identity(self) -> tuple[Any, ...]:
        """Scores are compared only where it is equal."""
        return self.judges, self.prompt, self.combine


def identify_judging(task: Task) -> Judging | None:
    """None of a task that no model judges."""
    definition = task.definition
    if definition["output_type"] == "judged":
        return _identify_ours(task)
    imported = definition.get("imported") or {}
    scale = IMPORTED.get(imported.get("format", ""))
    if scale is None or not imported.get("judge"):
        return None
    opponent = str(imported.get("opponent") or imported.get("reference") or "")
    return Judging(
        judges=(str(imported["judge"]),),
        prompt=str(imported.get("judge_prompt") or ""),
        scale=scale,
        opponent=slugify(opponent, 120) if opponent else "",
        family=hash_content({key: value for key, value in imported.items() if key not in _OF_JUDGE}),
        ours=False,
    )


def _identify_ours(task: Task) -> Judging:
    spec = TaskSpec.model_validate(task.definition)
    settings = spec.judging
    assert settings is not None
    content = spec.model_dump(mode="json", exclude={"task", "title", "dataset", *spec.idle_fields})
    content["judging"] = settings.identify_question()
    identity = settings.identify_judge(spec.metric)
    return Judging(
        judges=tuple(identity["judges"]),
        prompt=identity["prompt_sha256"],
        scale="grade" if spec.metric == GRADE else "wins",
        opponent=slugify(settings.opponent, 120) if settings.opponent else "",
        family=hash_content({**content, "rows": task.dataset_version.sha256}),
        ours=True,
        combine=identity["combine"],
    )


def word_difference(here: Judging, there: Judging) -> str:
    """Why scores of `there` are shown beside those of `here` and not compared."""
    if here.judges != there.judges:
        return f"judged by {there.who}, the others by {here.who}"
    if here.prompt != there.prompt:
        return f"judged with other words ({there.prompt_name or 'unknown'}, the others {here.prompt_name or 'unknown'})"
    return f"the panel's grades are combined by {there.combine}, those of the others by {here.combine}"
