"""Low-rank adapters: what trains, what a checkpoint holds, what the sampler sees, what is left after the stage."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.rollout_runs import GRPO, open_stage, write_base, write_rollout_run
from tests.trainer_runs import events_of, metric, run_here
from trainer.adapters import adapted_maps, merged_weight
from trainer.contract.hashing import hash_file, list_files

SFT: dict[str, Any] = {
    "kind": "sft",
    "data": [{"dataset": "chat@1"}],
    "steps": 4,
    "batch_size": 2,
    "sequence_length": 96,
    "checkpoint_every": 2,
    "optimizer": {"learning_rate": 3e-2, "schedule": "constant"},
    "lora": {"rank": 4, "alpha": 8, "targets": ["q_proj", "down_proj"]},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"))


def test_an_adapter_changes_nothing_at_first_and_is_all_that_trains(base: Path, tmp_path: Path):
    work = open_stage(tmp_path / "adapted", SFT, base)
    plain = open_stage(tmp_path / "plain", {**SFT, "lora": None}, base)
    trained = {name for name, weight in work.policy.model.named_parameters() if weight.requires_grad}
    assert trained
    assert all("lora_" in name and ("q_proj" in name or "down_proj" in name) for name in trained)
    [update], [same] = work.collect(), plain.collect()
    assert work.policy.summed_nll(update.micro_batches[0]).item() == pytest.approx(
        plain.policy.summed_nll(same.micro_batches[0]).item(), rel=1e-6
    )
    before = {name: weight.detach().clone() for name, weight in work.policy.model.named_parameters()}
    work.optimize(update)
    changed = {name for name, weight in work.policy.model.named_parameters() if not torch.equal(weight, before[name])}
    assert changed == {name for name in trained if "lora_B" in name}  # A has no gradient while B is zero


def test_a_merged_map_is_weight_plus_scaled_product():
    from peft.tuners.lora import Linear, LoraConfig

    layer = Linear(
        torch.nn.Linear(2, 2, bias=False),
        adapter_name="default",
        config=LoraConfig(r=1, lora_alpha=3),
        r=1,
        lora_alpha=3,
    )
    with torch.no_grad():
        layer.base_layer.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        layer.lora_A["default"].weight.copy_(torch.tensor([[1.0, 2.0]]))
        layer.lora_B["default"].weight.copy_(torch.tensor([[0.5], [-1.0]]))
    assert merged_weight(layer).tolist() == [[2.5, 3.0], [-3.0, -5.0]]


def test_checkpoints_load_in_plain_transformers_and_continue_bit_for_bit(base: Path, tmp_path: Path):
    whole = write_rollout_run(tmp_path / "whole", [SFT, {**GRPO, "steps": 1}], base)
    assert run_here(whole) == 0
    saved = whole / "checkpoints/step-000002"
    part = write_rollout_run(tmp_path / "part", [SFT, {**GRPO, "steps": 1}], base, resume_from=str(saved), attempt=2)
    assert run_here(part) == 0
    assert {step: value for step, value in metric(whole, "train/loss").items() if step > 2} == metric(
        part, "train/loss"
    )
    for event in events_of(part, "checkpoint_saved"):
        for name in list_files(whole / event.path):
            assert hash_file(whole / event.path / name) == hash_file(part / event.path / name), name

    model, loading = AutoModelForCausalLM.from_pretrained(saved / "model", output_loading_info=True)
    assert not any(loading[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert not any(adapted_maps(model))
    original = AutoModelForCausalLM.from_pretrained(base).state_dict()
    moved = {name for name, weight in model.state_dict().items() if not torch.equal(weight, original[name])}
    assert moved == {name for name in original if "q_proj" in name or "down_proj" in name}


def test_the_sampler_samples_with_the_adapter(base: Path, tmp_path: Path):
    stage = {**GRPO, "lora": {"rank": 4, "alpha": 8}, "optimizer": {"learning_rate": 3e-2, "schedule": "constant"}}
    work = open_stage(tmp_path, stage, base)
    assert work.algorithm.engine.fallback_reason is None
    for _ in range(3):
        [update] = work.collect()
        metrics = work.optimize(update)
        work.end_round()
    assert metrics["policy/logp_gap_max"] < 1e-4  # sampler and trainer agree on weights that have moved
    assert all(module.lora_B["default"].weight.abs().max() > 0 for _, module in adapted_maps(work.policy.model))


def test_a_map_that_is_not_there_is_refused_by_name(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = write_rollout_run(tmp_path, [{**SFT, "lora": {"targets": ["query"]}}], base)
    assert run_here(out) == 2
    assert "recipe.stages[0].lora.targets: this policy has no map query; it has down_proj" in capsys.readouterr().err
