"""Rounds played by older weights while the policy learns: how old, how weighed, and the same whoever is faster."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from pydantic import ValidationError
from transformers import AutoModelForCausalLM

from tests.rollout_runs import GRPO, read_rollouts, write_base, write_rollout_run
from tests.trainer_runs import open_here
from trainer.contract.dimensions import Dimensions
from trainer.contract.memory import Setting, plan_memory
from trainer.contract.stages.agentic_rft import AgenticRftStage
from trainer.rollouts import next_round, tool_client
from trainer.rollouts.rollout import Rollout

if TYPE_CHECKING:
    from trainer.stage import StageWork

STAGE: dict[str, Any] = {**GRPO, "kind": "agentic_rft", "in_step": True, "tell_tools": False, "stale_steps": 1}
SEARCH = {"type": "function", "function": {"name": "search_law", "parameters": {}}}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(autouse=True)
def _service(monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy that knows nothing calls no tool, so nobody asks this one."""
    monkeypatch.setattr(tool_client, "read_tools", lambda toolset: ("", [SEARCH]))


def open_stage(out: Path, stage: dict[str, Any], base: Path, **fields: Any) -> "StageWork":
    from trainer.stage import StageWork

    toolset = {"name": "law@1", "tools": ["search_law"], "address": "http://127.0.0.1:9"}
    session = open_here(write_rollout_run(out, [stage], base, recipe={"toolset": "law@1"}, toolset=toolset, **fields))
    work = StageWork(session, 0, session.spec.recipe.stages[0])  # type: ignore[arg-type]
    work.tell_started()
    return work


def learn(work: "StageWork", steps: int) -> list[dict[str, float]]:
    """Optimiser steps as `trainer.loop.train` makes them, with their metrics."""
    found = []
    while work.done < steps:
        for update in work.collect():
            found.append(work.optimize(update))
        work.end_round()
        work.save_if_due()
    return found


def weights_of(work: "StageWork") -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in work.policy.model.named_parameters()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(weight, other[name]) for name, weight in one.items())


@pytest.mark.parametrize(
    ("every", "bound", "ages"),
    [(1, 1, [{0}, {1}, {1}, {1}]), (1, 5, [{0}, {1}, {1}, {1}]), (2, 3, [{0, 1}, {2, 3}])],
)
def test_no_rollout_is_older_than_allowed(every: int, bound: int, ages: list[set[int]], base: Path, tmp_path: Path):
    stage = {**STAGE, "updates_per_rollout": every, "stale_steps": bound}
    work = open_stage(tmp_path / "run", stage, base)
    metrics = learn(work, 4)
    work.algorithm.close()
    stored = [{one.age for one in read_rollouts(tmp_path / "run", step)} for step in range(1, 5, every)]
    assert stored == ages
    assert [one["rollout/age_max"] for one in metrics] == [age for round_ in ages for age in sorted(round_)]
    assert max(one["rollout/age_max"] for one in metrics) <= bound


def test_without_stale_steps_every_round_is_sampled_by_the_weights_that_learn_from_it(base: Path, tmp_path: Path):
    work = open_stage(tmp_path / "run", {**STAGE, "stale_steps": 0}, base)
    metrics = learn(work, 2)
    work.algorithm.close()
    assert {one.age for step in (1, 2) for one in read_rollouts(tmp_path / "run", step)} == {0}
    assert not [name for name in metrics[0] if name.startswith("rollout/age")]
    assert max(one["policy/logp_gap_max"] for one in metrics) < 1e-4


@torch.no_grad()
def logprobs_of(base: Path, weights: dict[str, torch.Tensor], rollout: Rollout) -> list[float]:
    """Of all its tokens, from one plain forward pass."""
    model = AutoModelForCausalLM.from_pretrained(base)
    model.load_state_dict(weights, strict=False)
    ids = torch.tensor([[*rollout.prompt.ids, *rollout.token_ids]])
    logp = model(ids).logits[0, len(rollout.prompt.ids) - 1 : -1].double().log_softmax(-1)
    return logp.gather(1, torch.tensor(rollout.token_ids)[:, None])[:, 0].tolist()


def test_a_token_weighs_as_much_more_as_the_policy_now_finds_it_likelier_than_when_it_was_sampled(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """w = min(π_now/π_then, C), and the ratio that is clipped starts at 1: L = −Σ w A / Σ tokens."""
    cap = 1.05
    stage = {**STAGE, "importance_cap": cap, "batch_size": 4, "clip_low": 0.001, "clip_high": 0.001}
    work = open_stage(tmp_path / "run", stage, base)
    seen: list[Rollout] = []
    learn_from = work.algorithm.learn_from
    monkeypatch.setattr(
        work.algorithm, "learn_from", lambda rollouts, part: (seen.extend(rollouts), learn_from(rollouts, part=part))[1]
    )
    before = weights_of(work)
    learn(work, 1)
    seen.clear()
    (update,) = work.collect()
    total = sum(
        work.algorithm.loss(batch, work.policy, targets=batch.targets).total.item() for batch in update.micro_batches
    )
    work.algorithm.close()
    tokens = sum(len(one.token_ids) for one in seen)
    expected, weights = 0.0, []
    for rollout in seen:
        then, now = logprobs_of(base, before, rollout), logprobs_of(base, weights_of(work), rollout)
        assert rollout.sampled_logprobs() == pytest.approx(then, abs=1e-4)  # the older policy's own
        for one, other in zip(now, then, strict=True):
            weights.append(min(torch.tensor(one - other).exp().item(), cap))
            assert rollout.advantage is not None
            expected -= weights[-1] * rollout.advantage / tokens
    assert min(weights) < 0.99  # it did change
    assert max(weights) == cap
    assert total == pytest.approx(expected, abs=1e-4)


def test_a_round_played_beside_the_optimiser_is_the_one_played_before_it(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """However the two threads take turns: bit for bit."""
    beside = open_stage(tmp_path / "beside", STAGE, base)
    learn(beside, 4)
    beside.algorithm.close()

    def before(self: Any, sample: Any) -> None:
        self._found = sample(lambda: False)
        self._thread = threading.Thread()
        self._thread.start()

    monkeypatch.setattr(next_round.NextRound, "begin", before)
    first = open_stage(tmp_path / "first", STAGE, base)
    learn(first, 4)
    first.algorithm.close()
    for step in range(1, 5):
        assert read_rollouts(tmp_path / "beside", step) == read_rollouts(tmp_path / "first", step)
    assert same(weights_of(beside), weights_of(first))


@pytest.mark.parametrize("lora", [None, {"rank": 4}], ids=["all weights", "adapter"])
def test_a_stage_continued_in_its_middle_ends_the_same(lora: Any, base: Path, tmp_path: Path):
    """The round that was being played when the checkpoint was written is played again, by the weights of that time."""
    stage = {**STAGE, "checkpoint_every": 2, "lora": lora}
    whole = open_stage(tmp_path / "whole", stage, base)
    learn(whole, 4)
    whole.algorithm.close()
    part = open_stage(tmp_path / "part", stage, base, resume_from=find_checkpoint(tmp_path / "whole", 2), attempt=2)
    learn(part, 4)
    part.algorithm.close()
    for step in (3, 4):
        assert read_rollouts(tmp_path / "part", step) == read_rollouts(tmp_path / "whole", step)
    assert same(weights_of(part), weights_of(whole))


def find_checkpoint(out: Path, step: int) -> str:
    (found,) = [one for one in (out / "checkpoints").iterdir() if int(one.name.rpartition("-")[2]) == step]
    return str(found)


def test_what_went_wrong_beside_the_optimiser_is_told_by_the_next_round(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    work = open_stage(tmp_path / "run", STAGE, base)

    def fail(*_: Any, **more: Any) -> None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(work.algorithm.next_round.engine, "serve", fail)  # type: ignore[attr-defined]
    with pytest.raises(ZeroDivisionError, match="a fault"):
        learn(work, 2)
    work.algorithm.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "next round"]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"updates_per_rollout": 2}, r"stale_steps 1 is less than the 3 steps .* set it to 3 or more, or to 0"),
        ({"importance_cap": None}, "stale_steps needs an importance_cap"),
        ({"sampler": "vllm"}, "stale_steps goes with sampler torch, not vllm"),
        ({"compute": {"swap": "on"}}, r"which compute\.swap on rules out"),
        ({"compute": {"sharding": "on"}}, r"which compute\.sharding on rules out"),
    ],
)
def test_what_does_not_go_with_older_weights_is_refused(fields: dict[str, Any], sentence: str):
    with pytest.raises(ValidationError, match=sentence):
        AgenticRftStage(**{**STAGE, **fields})


def test_the_plan_of_memory_knows_what_goes_on_while_the_policy_learns():
    sizes = {"parameters": 1000, "vocabulary": 500, "hidden": 64, "layers": 2, "query": 64, "key": 32, "heads": 4}
    policy = Dimensions(**sizes, key_heads=2, ffn=128, tied=True, normed_heads=True, copied_to_sample=True)
    setting = Setting(gpu=False, half=False, swap=False)
    stale = plan_memory(AgenticRftStage(**STAGE), policy, {}, setting)
    fresh = plan_memory(AgenticRftStage(**{**STAGE, "stale_steps": 0}), policy, {}, setting)
    assert stale.phases["student"]["keys and values"] == fresh.phases["rollout"]["keys and values"] > 0
    assert "keys and values" not in fresh.phases["student"]
    assert stale.phases["save"]["behaviour"] == 4 * policy.parameters
