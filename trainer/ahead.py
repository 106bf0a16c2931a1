"""Looking ahead, before the first stage begins, at what the later ones need."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.contract.spec import RunSpec
from trainer.contract.stages.base import StageBase, TrainingStage
from trainer.contract.stages.evaluate import EvaluateStage
from trainer.data.rows import RowFile
from trainer.failures import InvalidSpec
from trainer.inputs import compare_tokens, find_reward_problems


def check_later_stages(spec: RunSpec, rows: Mapping[str, RowFile], *, after: int, base: Path | None) -> None:
    """What stages behind number `after` need, lest hours of training end at the last one's mistake.

    A stage checks the same and more when it is opened; `base` is where the policy's tokenizer lies, None where the
    first stage still has to make one. Raises InvalidSpec with all errors found.
    """
    from trainer.algorithms import algorithm_for

    later = list(enumerate(spec.recipe.stages))[after + 1 :]
    tokenizer = _read_tokenizer(base) if base and later else None
    errors = []
    for number, stage in later:
        errors += _unfit_models(spec, number, stage, tokenizer)
        if isinstance(stage, TrainingStage):
            errors += find_reward_problems(stage, number, rows)
            try:
                if tokenizer is not None:
                    algorithm_for(stage).look_ahead(tokenizer, rows, number=number)
            except InvalidSpec as error:
                errors += error.errors
        if isinstance(stage, EvaluateStage):
            errors += _unfit_tasks(spec, stage)
    if errors:
        raise InvalidSpec(errors)


def _unfit_models(spec: RunSpec, number: int, stage: StageBase, tokenizer: Any) -> list[str]:
    """Models that a stage names: missing ones, and those that do not have the policy's tokens."""
    errors = []
    for field, name in stage.named_models().items():
        path = Path(spec.models[name].path)
        if not path.is_dir():
            errors.append(f"models.{name}.path: {path} is no directory; the model {name} must lie there.")
        elif tokenizer is not None:
            other = _read_tokenizer(path)
            if other is None:
                errors.append(
                    f"models.{name}.path: {path} has no tokenizer that can be read; put the whole model there."
                )
            elif reason := compare_tokens(tokenizer.get_vocab(), other.get_vocab(), name=name):
                errors.append(f"recipe.stages[{number}].{field}: {reason}")
    return errors


def _unfit_tasks(spec: RunSpec, stage: EvaluateStage) -> list[str]:
    """Tasks of agents whose rows do not fit their rewards, and tasks whose judge is away."""
    from trainer.evaluation.errors import TaskError
    from trainer.evaluation.judging import check_items, open_rewards
    from trainer.evaluation.tasks import read_rows, render_items

    errors = []
    for task in (spec.tasks[name] for name in stage.tasks):
        if task.uses_tools:
            try:
                rows = read_rows(Path(spec.datasets[task.dataset].path))
                check_items(task, open_rewards(task), render_items(task, rows, tokenizer=None))
            except TaskError as error:
                errors.append(str(error))
        elif task.judging is not None:
            errors += [f"{task.task}: {reason}" for reason in task.judging.unreachable()]
    return errors


def _read_tokenizer(directory: Path) -> Any:
    """None where it cannot be read, which is said where the model is loaded."""
    from trainer.tokenizer import load_tokenizer

    try:
        return load_tokenizer(directory)
    except (OSError, ValueError, KeyError):
        return None
