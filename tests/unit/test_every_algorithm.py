"""What holds for every algorithm, of whatever kind: exact sums, exact slopes, exact resumption."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.every_algorithm import STAGES, VARIANTS, write_models, write_stages
from tests.rollout_runs import gradients
from tests.trainer_runs import events_of, metric, open_here, run_here, run_trainer
from trainer.algorithms.base import Batch, Update
from trainer.contract.hashing import hash_file, list_files
from trainer.contract.stages import TrainingStage, stage_kinds
from trainer.losses import IGNORED
from trainer.stage import StageWork

pytestmark = pytest.mark.trains


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_models(tmp_path_factory.mktemp("models"))


def test_every_kind_that_trains_is_held_to_this():
    kinds = {kind for kind, stage in stage_kinds().items() if issubclass(stage, TrainingStage)}
    # Its episodes need a tool service: tests/integration/test_agentic_runs.py holds it to the same.
    kinds -= {"agentic_rft"}
    assert kinds == STAGES.keys() == {variant["kind"] for variant in VARIANTS.values()}


def collect(out: Path, stage: dict[str, Any], models: dict[str, Path]) -> tuple[StageWork, Update]:
    """The last optimiser step of a stage's first round, with weights that have moved since it was collected."""
    session = open_here(write_stages(out, [stage], models))
    first = session.spec.recipe.stages[0]
    assert isinstance(first, TrainingStage)
    work = StageWork(session, 0, first)
    work.tell_started()
    update = work.collect()[-1]
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for weight in work.policy.model.parameters():
            weight.add_(0.01 * torch.randn(weight.shape, generator=generator))
    return work, update


def total_loss(work: StageWork, batches: Sequence[Batch]) -> Tensor:
    targets = sum(batch.targets for batch in batches)
    shares = [work.algorithm.loss(batch, work.policy, targets=targets).total for batch in batches if batch.targets]
    return torch.stack(shares).sum()


@pytest.mark.parametrize("name", VARIANTS)
def test_the_gradient_does_not_depend_on_micro_batches(name: str, models: dict[str, Path], tmp_path: Path):
    found = []
    for accumulation in (1, 2, 8):
        stage = {**VARIANTS[name], "gradient_accumulation": accumulation}
        work, update = collect(tmp_path / str(accumulation), stage, models)
        metrics = work.optimize(update)
        found.append((metrics["train/loss"], gradients(work), len(update.micro_batches)))
        work.session.events.close()
    (loss, whole, _), *others = found
    assert others[-1][2] >= 4  # or little was cut
    assert max(slope.abs().max() for slope in whole.values()) > 0
    for other_loss, cut, _ in others:
        assert other_loss == pytest.approx(loss, rel=1e-5, abs=1e-6)
        for weight, slope in whole.items():
            assert (cut[weight] - slope).norm() <= 1e-5 * slope.norm().clamp(min=1e-6), weight


@pytest.mark.parametrize("name", VARIANTS)
def test_the_gradient_is_that_of_finite_differences_and_nothing_that_is_masked_has_one(
    name: str, models: dict[str, Path], tmp_path: Path
):
    work, update = collect(tmp_path, {**VARIANTS[name], "gradient_accumulation": 2}, models)
    policy, batches = work.policy, update.micro_batches
    read, seen = policy.hidden, []

    def remember(batch: Any) -> Tensor:
        states = read(batch)
        if states.requires_grad:
            states.retain_grad()
            seen.append((batch, states))
        return states

    policy.hidden = remember  # type: ignore[method-assign]
    total_loss(work, batches).backward()
    assert len(seen) == len(batches) > 1
    for batch, states in seen:
        assert states.grad is not None
        assert states.grad[batch.labels_N == IGNORED].abs().max() == 0
    assert max(states.grad[batch.labels_N != IGNORED].abs().max() for batch, states in seen) > 0

    weights = list(policy.model.parameters())
    before = [weight.detach().clone() for weight in weights]
    norm = torch.stack([weight.grad.norm() for weight in weights]).norm()
    along = [weight.grad / norm for weight in weights]
    values = []
    with torch.no_grad():
        for size in (2e-3, -2e-3):
            for weight, start, direction in zip(weights, before, along, strict=True):
                weight.copy_(start + size * direction)
            values.append(total_loss(work, batches).double().item())
    assert (values[0] - values[1]) / 4e-3 == pytest.approx(norm.item(), rel=1e-2)


@pytest.mark.parametrize("kind", STAGES)
def test_ten_steps_are_five_a_resume_and_five_more_bit_for_bit(kind: str, models: dict[str, Path], tmp_path: Path):
    half = 5 * STAGES[kind].get("updates_per_rollout", 1)  # a stage is saved between two rounds only
    stage = {**STAGES[kind], "steps": 2 * half, "checkpoint_every": half}
    whole = write_stages(tmp_path / "whole", [stage], models)
    assert run_here(whole) == 0
    checkpoint = str(whole / f"checkpoints/step-{half:06d}")
    part = write_stages(tmp_path / "part", [stage], models, resume_from=checkpoint, attempt=2)
    if kind == "ink_grpo":  # once in a process of its own, which hashes and seeds by itself
        result = run_trainer("run", str(part))
        assert result.returncode == 0, result.stderr
    else:
        assert run_here(part) == 0
    last = events_of(whole, "checkpoint_saved")[-1].path
    assert list_files(whole / last) == list_files(part / last)
    for name in list_files(whole / last):
        assert hash_file(whole / last / name) == hash_file(part / last / name), name
    assert hash_file(whole / last / "model/model.safetensors") != hash_file(
        Path(checkpoint) / "model/model.safetensors"
    )
    losses = metric(whole, "train/loss")
    assert list(losses) == list(range(1, 2 * half + 1))
    assert metric(part, "train/loss") == {step: loss for step, loss in losses.items() if step > half}
