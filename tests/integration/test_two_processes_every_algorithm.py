"""Every algorithm in two processes: the gradients, figures and rollouts of one.

The gradient of a first step is read from the moments that its checkpoint holds: exp_avg = (1 − beta1) · gradient.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.every_algorithm import STAGES, write_models, write_stages
from tests.rollout_runs import GRPO, read_rollouts
from tests.trainer_runs import events_of, metric, run_here, run_watched

pytestmark = [pytest.mark.trains, pytest.mark.timeout(600)]

STILL = {"optimizer": {"learning_rate": 1e-6, "schedule": "constant", "clip_norm": 1e6}, "checkpoint_every": 1}
RECIPE: list[dict[str, Any]] = [
    {**STAGES["cpt"], **STILL, "steps": 1, "batch_size": 3},
    {**STAGES["dpo"], **STILL, "steps": 1, "batch_size": 3},
    {**STAGES["opd"], **STILL, "steps": 1, "on_policy": 0.0, "batch_size": 5},
    {**STAGES["opd"], **STILL, "steps": 1, "on_policy": 1.0, "cross_entropy_weight": 0.0, "batch_size": 5},
    {**STAGES["online_dpo"], **STILL, "steps": 1},
    {**STAGES["rf_nll"], **STILL, "steps": 1},
    # Completions of one or two tokens are mostly worth the same: groups are replaced, and some are not to be had.
    {
        **{**GRPO, **STILL, "steps": 2, "group_size": 2, "dynamic_sampling": {"rounds": 2}},
        **{"sampling": {"max_new_tokens": 3, "stop": ["a", "n"]}, "rewards": [{"kind": "overlong", "buffer": 1}]},
    },
]
KINDS = ["cpt", "dpo", "opd off policy", "opd on policy", "online_dpo", "rf_nll", "grpo with groups replaced"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_models(tmp_path_factory.mktemp("models"))


def write_recipe(out: Path, models: dict[str, Path], *, sharding: str = "off", **fields: Any) -> Path:
    stages = [{**stage, "compute": {"sharding": sharding}} for stage in RECIPE]
    return write_stages(out, stages, models, keep_checkpoints=50, **fields)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, models: dict[str, Path]) -> Path:
    out = write_recipe(tmp_path_factory.mktemp("alone"), models)
    assert run_here(out) == 0
    return out


@pytest.fixture(scope="module", params=["off", "on"], ids=["whole", "sharded"])
def together(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, models: dict[str, Path]) -> Path:
    out = write_recipe(tmp_path_factory.mktemp("together"), models, sharding=request.param, processes=2)
    result = run_watched(out, quiet=60)
    assert result.returncode == 0, result.stderr
    return out


def gradients_after(out: Path, step: int) -> dict[str, torch.Tensor]:
    tensors = load_file(out / f"checkpoints/step-{step:06d}/state/tensors.safetensors")
    return {name: moment / 0.1 for name, moment in tensors.items() if name.endswith("/exp_avg")}


@pytest.mark.parametrize("place", range(len(KINDS)), ids=KINDS)
def test_gradients_are_those_of_one_process(place: int, alone: Path, together: Path):
    ours, theirs = gradients_after(together, place + 1), gradients_after(alone, place + 1)
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        assert gradient.abs().max() > 0, name
        assert (ours[name] - gradient).norm() / gradient.norm() < 1e-5, name


def test_figures_and_decisions_are_those_of_one_process(alone: Path, together: Path):
    keys = {key for event in events_of(alone, "metrics_logged") for key in event.values}
    assert {"preference/pairs", "filter/kept_share", "distil/divergence_on_policy", "rollout/masked"} <= keys
    keys.remove("preference/accuracy")  # at the reference every margin is 0, and rounding decides on which side
    for key in sorted(key for key in keys if not key.startswith("system/")):
        ours, theirs = metric(together, key), metric(alone, key)
        assert list(ours) == list(theirs), key
        assert list(ours.values()) == pytest.approx(list(theirs.values()), rel=1e-4, abs=1e-4), key


def test_rollouts_are_those_of_one_process(alone: Path, together: Path):
    steps = [event.step for event in events_of(alone, "rollouts_stored")]
    assert steps == [event.step for event in events_of(together, "rollouts_stored")] == [4, 5, 6, 7, 8]
    for step in steps:
        ours, theirs = read_rollouts(together, step), read_rollouts(alone, step)
        assert [(one.group, one.index, one.tokens, one.masked) for one in ours] == [
            (one.group, one.index, one.tokens, one.masked) for one in theirs
        ]
    assert any(one.masked.startswith("Replaced") for step in (7, 8) for one in read_rollouts(alone, step))


def test_two_processes_give_up_together_when_nothing_can_be_valued(models: dict[str, Path], tmp_path: Path):
    stage = {**GRPO, **STILL, "steps": 8, "filter_overlong": True, "sampling": {"max_new_tokens": 2}}
    stage["rewards"] = [{"kind": "repetition"}]
    out = write_stages(tmp_path, [stage], models, processes=2)
    result = run_watched(out, quiet=60)
    assert result.returncode == 3, result.stderr
    [failed] = events_of(out, "attempt_failed")
    assert "none of the 8 rollouts of this round could be trained on" in failed.error
    masked = metric(out, "rollout/masked")  # the third round in a row ends the run before its step
    assert list(masked.values())[-2:] == [8, 8]
    assert [event.step for event in events_of(out, "checkpoint_saved")] == list(masked)
