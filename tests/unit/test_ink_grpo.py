"""InK-GRPO: two gradients added, a coin that every process and every resumed run shares."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.rollout_runs import GRPO, INK, gradients, open_stage, write_base, write_rollout_run
from tests.trainer_runs import events_of, metric, run_here
from trainer.contract.hashing import hash_directory

STEADY = {"optimizer": {"learning_rate": 3e-3, "schedule": "constant", "clip_norm": 1e6}}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"))


def test_a_rate_of_zero_is_grpo_bit_for_bit(base: Path, tmp_path: Path):
    runs = {}
    for name, stage in (("grpo", GRPO), ("ink", {**INK, "knowledge_rate": 0.0})):
        out = write_rollout_run(tmp_path / name, [stage], base)
        assert run_here(out) == 0
        runs[name] = out
    assert hash_directory(runs["grpo"] / "checkpoints/step-000004/model") == hash_directory(
        runs["ink"] / "checkpoints/step-000004/model"
    )
    assert metric(runs["ink"], "knowledge/coin") == {1: 0.0, 2: 0.0, 3: 0.0, 4: 0.0}
    assert metric(runs["ink"], "knowledge/loss") == {}
    for key in ("train/loss", "train/grad_norm", "rollout/reward"):
        assert metric(runs["ink"], key) == metric(runs["grpo"], key)


def step_of(out: Path, base: Path, stage: dict[str, Any]) -> tuple[Any, dict[str, float]]:
    work = open_stage(out, stage, base)
    return work, work.optimize(work.collect()[0])


def test_the_gradient_is_that_of_grpo_plus_the_weighted_one_of_the_text(base: Path, tmp_path: Path):
    grpo, _ = step_of(tmp_path / "grpo", base, GRPO)
    both, metrics = step_of(tmp_path / "both", base, {**INK, "knowledge_rate": 1.0, "knowledge_weight": 0.3})
    text = open_stage(tmp_path / "text", INK, base)
    parts = [part for sequence in text.algorithm.corpus.next_sequences() for key in sequence
             for part in text.algorithm.corpus.parts(key)]  # fmt: skip
    policy = text.policy
    policy.answer_plainly()
    total, targets = torch.zeros(()), 0
    for ids, _ in parts:
        tensor = torch.from_numpy(ids.astype("int64"))[None]
        total = total + policy.model(tensor, labels=tensor).loss * (len(ids) - 1)
        targets += len(ids) - 1
    (total / targets).backward()
    assert metrics["knowledge/coin"] == 1.0
    assert metrics["knowledge/loss"] == pytest.approx((total / targets).item(), rel=1e-5)
    assert metrics["train/knowledge"] == pytest.approx(0.3 * (total / targets).item(), rel=1e-5)
    first, ours = gradients(grpo), gradients(both)
    for name, weight in policy.model.named_parameters():
        assert torch.allclose(ours[name], first[name] + 0.3 * weight.grad, rtol=1e-4, atol=1e-6), name


def test_the_weight_of_the_text_does_not_depend_on_micro_batches(base: Path, tmp_path: Path):
    stage = {**INK, "knowledge_rate": 1.0, "knowledge_batch_size": 4, "sequence_length": 80}
    found = []
    for count in (1, 2, 8):
        work, metrics = step_of(tmp_path / str(count), base, {**stage, "gradient_accumulation": count})
        found.append((gradients(work), metrics))
    (whole, metrics), *others = found
    for cut, cut_metrics in others:
        assert cut_metrics["knowledge/loss"] == pytest.approx(metrics["knowledge/loss"], rel=1e-6)
        for name, slope in whole.items():
            assert (cut[name] - slope).norm() / slope.norm().clamp(min=1e-12) < 1e-5, name


def test_the_text_is_read_though_no_rollout_could_be_valued(base: Path, tmp_path: Path):
    work = open_stage(tmp_path, {**INK, "knowledge_rate": 1.0}, base)
    [update] = work.collect()
    text = [batch for batch in update.micro_batches if not hasattr(batch, "advantage_K")]
    metrics = work.optimize(type(update)(text))
    assert metrics["train/loss"] > 0
    assert metrics["train/grad_norm"] > 0


def test_coins_come_up_at_their_rate_and_follow_from_the_seed_alone(base: Path, tmp_path: Path):
    first = open_stage(tmp_path / "first", {**INK, "knowledge_rate": 0.6}, base).algorithm
    second = open_stage(tmp_path / "second", {**INK, "knowledge_rate": 0.6}, base).algorithm
    torch.rand(7)  # another process has used its generator otherwise
    coins = [first.draw_coin() for _ in range(2000)]
    assert [second.draw_coin() for _ in range(2000)] == coins
    assert abs(sum(coins) / 2000 - 0.6) < 0.033  # three standard errors
    second.restore({**second.state(), "draws": 5}, {})
    assert [second.draw_coin() for _ in range(20)] == coins[5:25]


def test_the_ledger_names_coin_and_both_losses(base: Path, tmp_path: Path):
    out = write_rollout_run(tmp_path, [{**INK, "steps": 8, "knowledge_rate": 0.5}], base)
    assert run_here(out) == 0
    coins = metric(out, "knowledge/coin")
    assert list(coins) == list(range(1, 9))
    assert 0 < sum(coins.values()) < 8
    read = [step for step, coin in coins.items() if coin]
    assert list(metric(out, "knowledge/loss")) == read
    assert list(metric(out, "policy/loss")) == list(range(1, 9))
    assert events_of(out, "stage_started")[0].notes["corpus_rows"] == 20
