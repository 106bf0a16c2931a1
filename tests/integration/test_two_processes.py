"""One policy trained by two processes over gloo: the same gradients, the same decisions, nobody left waiting.

The gradient of a first step is read from the moments that its checkpoint holds: exp_avg = (1 − beta1) · gradient.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tests.rollout_runs import GRPO, INK, read_rollouts, write_base, write_rollout_run
from tests.trainer_runs import events_of, metric, run_here, run_watched

pytestmark = [pytest.mark.trains, pytest.mark.timeout(600)]

OPTIMIZER = {"learning_rate": 1e-6, "schedule": "constant", "clip_norm": 1e6}
EVERY = {"checkpoint_every": 1, "optimizer": OPTIMIZER}
STAGES: list[dict[str, Any]] = [
    # Three sequences of unequal length for two processes: one of them has an empty share of the second turn.
    {"kind": "sft", "data": [{"dataset": "chat@1"}], "steps": 2, "batch_size": 3, "sequence_length": 96, **EVERY},
    {**GRPO, "steps": 2, "kl_weight": 0.1, **EVERY},
    # One prompt for two processes: one of them samples nothing at all.
    {**INK, "steps": 4, "batch_size": 4, "knowledge_batch_size": 3, "held_out": [{"dataset": "others@1"}], **EVERY},
    {**GRPO, "steps": 4, "updates_per_rollout": 2, **EVERY, "checkpoint_every": 2},
]
GRADIENTS_AT = {"sft": 1, "grpo": 3, "ink_grpo": 5}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"))


def write_stages(out: Path, base: Path, *, sharding: str = "off", stages: Any = STAGES, **fields: Any) -> Path:
    arranged = [{**stage, "compute": {"sharding": sharding}} for stage in stages]
    return write_rollout_run(out, arranged, base, keep_checkpoints=50, **fields)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    out = write_stages(tmp_path_factory.mktemp("alone"), base)
    assert run_here(out) == 0
    return out


def run_two(out: Path) -> Path:
    result = run_watched(out, quiet=60)
    assert result.returncode == 0, result.stderr
    return out


@pytest.fixture(scope="module", params=["off", "on"], ids=["whole", "sharded"])
def together(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    out = tmp_path_factory.mktemp("together")
    return run_two(write_stages(out, base, sharding=request.param, processes=2))


def gradients_after(out: Path, step: int) -> dict[str, torch.Tensor]:
    tensors = load_file(out / f"checkpoints/step-{step:06d}/state/tensors.safetensors")
    return {name: moment / 0.1 for name, moment in tensors.items() if name.endswith("/exp_avg")}


@pytest.mark.parametrize("kind", GRADIENTS_AT)
def test_gradients_are_those_of_one_process(kind: str, alone: Path, together: Path):
    step = GRADIENTS_AT[kind]
    ours, theirs = gradients_after(together, step), gradients_after(alone, step)
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        assert gradient.abs().max() > 0, name
        assert (ours[name] - gradient).norm() / gradient.norm() < 1e-5, name


def test_figures_and_decisions_are_those_of_one_process(alone: Path, together: Path):
    for key in ("train/loss", "train/grad_norm", "rollout/reward", "policy/kl", "policy/entropy", "knowledge/loss"):
        ours, theirs = metric(together, key), metric(alone, key)
        assert list(ours) == list(theirs), key
        assert list(ours.values()) == pytest.approx(list(theirs.values()), rel=1e-4, abs=1e-6), key
    assert metric(together, "train/tokens") == metric(alone, "train/tokens")
    assert metric(together, "held_out/others@1/reward") == metric(alone, "held_out/others@1/reward")
    assert {0.0, 1.0} == set(metric(together, "knowledge/coin").values())
    assert metric(together, "knowledge/coin") == metric(alone, "knowledge/coin")


def test_rollouts_are_those_of_one_process_and_stored_once(alone: Path, together: Path):
    for step in (3, 5):
        ours, theirs = read_rollouts(together, step), read_rollouts(alone, step)
        assert [(one.group, one.index, one.tokens) for one in ours] == [
            (one.group, one.index, one.tokens) for one in theirs
        ]
    assert len(events_of(together, "attempt_started")) == 1
    assert events_of(together, "attempt_started")[0].hardware["processes"] == 2
    assert len(events_of(together, "rollouts_stored")) == len(events_of(alone, "rollouts_stored"))


def test_what_runs_is_what_was_asked_for(together: Path):
    notes = events_of(together, "stage_started")[0].notes
    asked = (together / "run.json").read_text().count('"sharding": "on"')
    assert (notes["processes"], notes["sharded"]) == (2, bool(asked))


def test_a_checkpoint_loads_in_plain_transformers_and_continues_in_one_process(
    alone: Path, together: Path, base: Path, tmp_path: Path
):
    saved = together / "checkpoints/step-000003"
    model, loading = AutoModelForCausalLM.from_pretrained(saved / "model", output_loading_info=True)
    assert not any(loading[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert model.config.architectures == ["Qwen3ForCausalLM"]
    alike = AutoModelForCausalLM.from_pretrained(alone / "checkpoints/step-000003/model").state_dict()
    for name, weight in model.state_dict().items():
        assert torch.allclose(weight, alike[name], atol=1e-5), name

    sharding = "on" if '"sharding": "on"' in (together / "run.json").read_text() else "off"
    part = write_stages(tmp_path, base, sharding=sharding, resume_from=str(saved), attempt=2)
    assert run_here(part) == 0
    losses, whole = metric(part, "train/loss"), metric(together, "train/loss")
    assert list(losses) == [step for step in whole if step > 3]
    assert list(losses.values()) == pytest.approx([whole[step] for step in losses], rel=1e-4, abs=1e-6)
