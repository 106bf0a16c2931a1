"""Checking, before anything is computed, that a spec names things that exist, are the frozen ones and fit together."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from trainer.contract.hashing import hash_directory
from trainer.contract.overlap import find_overlap
from trainer.contract.rewards import check_reachable
from trainer.contract.spec import ModelFile, RunSpec
from trainer.contract.stages.base import TrainingStage
from trainer.data.rows import RowFile, open_rows
from trainer.failures import InvalidSpec


def open_datasets(spec: RunSpec) -> dict[str, RowFile]:
    """Every dataset of the spec, its content verified; raises InvalidSpec with all errors found."""
    opened: dict[str, RowFile] = {}
    errors = _wrong_kinds(spec)
    for name, file in spec.datasets.items():
        try:
            opened[name] = open_rows(name, file)
        except InvalidSpec as error:
            errors += error.errors
    errors = errors or _overlaps(spec, opened)
    if errors:
        raise InvalidSpec(errors)
    return opened


def check_base(spec: RunSpec) -> Path:
    """The directory of the base model, its content verified."""
    assert spec.base is not None  # the contract requires it wherever the recipe names a base
    return check_model(spec.base, field="base", title=f"model {spec.recipe.base}")


def check_model(file: ModelFile, *, field: str, title: str) -> Path:
    """The directory of a model, its content verified; `field` is where the spec holds it."""
    path = Path(file.path)
    if not path.is_dir():
        raise InvalidSpec(f"{field}.path: {path} is no directory; the {title} must lie there.")
    if hash_directory(path) != file.sha256:
        raise InvalidSpec(f"{field}.sha256: {path} has other content than the {title} that was frozen.")
    return path


def find_reward_problems(stage: TrainingStage, number: int, rows: Mapping[str, RowFile]) -> list[str]:
    """Rows without what a reward of the stage needs and, where there are none, services that cannot be reached."""
    from trainer.rewards import check_rows, make_rewards

    configs = getattr(stage, "rewards", ())
    if not configs:
        return []
    field, rewards = f"recipe.stages[{number}]", make_rewards(configs)
    problems = [
        problem
        for source in [*stage.data, *stage.held_out]
        for problem in check_rows(rewards, rows[source.dataset], path=f"{field}.rewards", dataset=source.dataset)
    ]
    return problems or [f"{field}.{reason}" for reason in check_reachable(configs)]


def compare_tokens(mine: Mapping[str, int], theirs: Mapping[str, int], *, name: str) -> str:
    """Why the model `name` cannot read what the policy writes, from both vocabularies; empty when it can."""
    if mine == theirs:
        return ""
    other = sum(theirs.get(token) != number for token, number in mine.items()) or len(theirs) - len(mine)
    return (
        f"{name} has another tokenizer than the policy ({other:,} of its {len(theirs):,} tokens differ), so it cannot "
        "read what the policy writes; choose a model of the same family."
    )


def fingerprint(spec: RunSpec) -> str:
    """Hash of everything in a spec that decides the result; a checkpoint continues only under the same."""
    decisive = {
        "recipe": spec.recipe.model_dump(mode="json"),
        "base": spec.base.sha256 if spec.base else "",
        "models": {name: file.sha256 for name, file in spec.models.items()},
        "datasets": {name: file.sha256 for name, file in spec.datasets.items()},
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def _wrong_kinds(spec: RunSpec) -> list[str]:
    errors = []
    for number, stage in enumerate(spec.recipe.stages):
        if not isinstance(stage, TrainingStage):
            continue
        for named in stage.named_sources():
            dataset = named.source.dataset
            kind = spec.datasets[dataset].kind
            if kind not in named.kinds:
                errors.append(
                    f"recipe.stages[{number}].{named.path}: {dataset} holds {kind} rows, "
                    f"and this field takes {' or '.join(sorted(named.kinds))} rows; choose another dataset."
                )
    return errors


def _overlaps(spec: RunSpec, opened: dict[str, RowFile]) -> list[str]:
    """Text to be learned that holds what the recipe's tasks or the stage's own measurements ask."""
    errors = []
    for number, stage in enumerate(spec.recipe.stages):
        if not isinstance(stage, TrainingStage):
            continue
        asking = [(task.dataset, f"task {task.task}") for task in spec.tasks.values()]
        asking += [(source.dataset, f"held_out[{place}]") for place, source in enumerate(stage.held_out)]
        for named in stage.named_sources():
            if named.field not in stage.apart_from_tasks:
                continue
            for dataset, who in asking:
                found = find_overlap(opened[named.source.dataset], opened[dataset])
                if found is not None:
                    errors.append(
                        f"recipe.stages[{number}].{named.path}: row {found[0] + 1} of {named.source.dataset} holds "
                        f"what row {found[1] + 1} of {dataset} asks, so {who} would measure what was read out "
                        "before; remove those rows or choose another corpus."
                    )
    return errors
