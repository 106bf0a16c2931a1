"""A GRPO stage on a tiny policy: what its gradient is, and what gives none."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.rollout_runs import GRPO, gradients, open_stage, read_rollouts, write_base, write_rollout_run
from tests.trainer_runs import events_of, metric, run_here
from trainer.contract.rewards.overlong import OverlongReward
from trainer.rewards.base import Answer, Fault, SingleReward
from trainer.rollouts.batch import flatten_rollouts
from trainer.rollouts.prompts import Prompt
from trainer.rollouts.rollout import Rollout
from trainer.sampling.engine import StopReason


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"))


class Scripted(SingleReward):
    """Worth what the test says of a row and a text; a string is a fault."""

    config_class = OverlongReward
    range = (-math.inf, math.inf)

    def __init__(self, judge: Any) -> None:
        super().__init__(OverlongReward(name="scripted"))
        self.judge = judge

    def value(self, answer: Answer) -> float:
        found = self.judge(answer)
        if isinstance(found, str):
            raise Fault(found)
        return float(found)


def step_of(tmp_path: Path, base: Path, judge: Any = None, **changes: Any) -> tuple[Any, dict[str, float]]:
    """An opened stage after its first optimiser step, and the step's metrics."""
    work = open_stage(tmp_path, {**GRPO, **changes}, base)
    if judge:
        work.algorithm.rewards = [Scripted(judge)]
    return work, work.optimize(work.collect()[0])


@pytest.mark.parametrize("aggregation", ["token_mean", "sequence_mean", "constant"])
def test_loss_and_gradient_are_those_of_the_formula_on_the_plain_model(aggregation: str, base: Path, tmp_path: Path):
    work, metrics = step_of(tmp_path, base, aggregation=aggregation, sampling={**GRPO["sampling"], "temperature": 0.8})
    rollouts = read_rollouts(tmp_path, 1)
    assert len({len(one.tokens) for one in rollouts}) > 2

    policy = open_stage(tmp_path / "plain", GRPO, base).policy
    policy.answer_plainly()
    total = torch.zeros(())
    lengths = [len(one.tokens) for one in rollouts]
    for group in range(2):
        members = [one for one in rollouts if one.group == group]
        rewards = torch.tensor([one.reward for one in members])
        advantages = (rewards - rewards.mean()) / (rewards.std() + 1e-6)
        for one, advantage in zip(members, advantages, strict=True):
            assert one.advantage == pytest.approx(advantage.item(), rel=1e-5)
            ids, start = ids_of(work, one)
            logits = policy.model(ids[None]).logits[0] / 0.8
            logp = logits.log_softmax(-1)[:-1].gather(1, ids[1:, None])[start - 1 :, 0]
            stored = torch.tensor(one.logprobs)
            assert torch.allclose(logp, stored, atol=1e-4)
            ratio = (logp - logp.detach()).exp()
            share = {
                "token_mean": 1 / sum(lengths),
                "sequence_mean": 1 / (8 * len(one.tokens)),
                "constant": 1 / (8 * 16),
            }[aggregation]
            total = total - (ratio * advantage).sum() * share
    total.backward()
    assert metrics["policy/loss"] == pytest.approx(total.item(), abs=1e-6)
    ours = gradients(work)
    for name, weight in policy.model.named_parameters():
        assert torch.allclose(ours[name], weight.grad, rtol=1e-3, atol=1e-6), name


def ids_of(work: Any, stored: Any) -> tuple[torch.Tensor, int]:
    """Token ids of a stored rollout, found again in what the stage sampled, and where its completion begins."""
    places = {(one.group, one.index): one for one in work.seen}
    rollout = places[stored.group, stored.index]
    return torch.tensor([*rollout.prompt.ids, *rollout.token_ids]), len(rollout.prompt.ids)


@pytest.fixture(autouse=True)
def keep_rollouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every opened stage remembers the rollouts it stored, since files show texts and not ids."""
    from trainer.algorithms.rollouts import RolloutAlgorithm
    from trainer.stage import StageWork

    store = RolloutAlgorithm._store

    def remember(self: Any, rollouts: Any, step: int) -> None:
        self.seen = list(rollouts)
        store(self, rollouts, step)

    monkeypatch.setattr(RolloutAlgorithm, "_store", remember)
    monkeypatch.setattr(StageWork, "seen", property(lambda self: self.algorithm.seen), raising=False)


@pytest.mark.parametrize("aggregation", ["token_mean", "sequence_mean", "constant"])
def test_micro_batches_do_not_change_the_gradient(aggregation: str, base: Path, tmp_path: Path):
    found = []
    for count in (1, 2, 8):
        work, metrics = step_of(
            tmp_path / str(count), base, aggregation=aggregation, gradient_accumulation=count, kl_weight=0.1
        )
        found.append((gradients(work), metrics["policy/loss"]))
    (whole, loss), *others = found
    for cut, cut_loss in others:
        assert cut_loss == pytest.approx(loss, rel=1e-5, abs=1e-6)
        for name, slope in whole.items():
            difference = (cut[name] - slope).norm() / slope.norm().clamp(min=1e-12)
            assert difference < 1e-5, name


def test_tokens_that_the_policy_did_not_sample_give_no_gradient(base: Path, tmp_path: Path):
    work = open_stage(tmp_path, {**GRPO, "kl_weight": 0.1}, base)
    prompt = Prompt(name="questions@1#0", row={}, ids=(5, 6, 7), text="")
    trained = [True, True, False, False, True]
    logprobs = [-5.0 if flag else None for flag in trained]
    rollout = Rollout(prompt, 0, 0, [10, 11, 12, 13, 14], trained, logprobs, "", StopReason.END_TOKEN, advantage=1.5)
    batch = work.algorithm._add_frozen_logprobs(
        flatten_rollouts([rollout], [1 / 3], device=torch.device("cpu")), on_policy=False
    )
    seen = []

    class Watched:
        def __init__(self, policy: Any) -> None:
            self.policy = policy

        def logprobs(self, batch: Any, **options: Any) -> Any:
            hidden = self.policy.hidden(batch).detach().requires_grad_()
            seen.append(hidden)
            self.policy.hidden = lambda batch: hidden
            return type(self.policy).logprobs(self.policy, batch, **options)

    work.algorithm.loss(batch, Watched(work.policy), targets=3).total.backward()
    moved = seen[0].grad.abs().sum(dim=1) > 0
    # Positions 2, 3 and 6 predict the sampled tokens 3, 4 and 7 of the eight.
    assert moved.tolist() == [False, False, True, True, False, False, True, False]


def test_identical_rewards_teach_nothing(base: Path, tmp_path: Path):
    work, metrics = step_of(tmp_path, base, judge=lambda answer: 0.1)
    assert metrics["rollout/reward_std"] == 0.0
    assert metrics["train/grad_norm"] == 0.0
    assert all(torch.equal(slope, torch.zeros_like(slope)) for slope in gradients(work).values())


def test_a_rollout_whose_reward_failed_is_masked_and_counted(base: Path, tmp_path: Path):
    def judge(answer: Answer) -> float | str:
        return "The judge is away." if answer.tokens > 8 else answer.tokens

    work, metrics = step_of(tmp_path, base, judge=judge)
    stored = read_rollouts(tmp_path, 1)
    failed = [one for one in stored if len(one.tokens) > 8]
    assert 0 < len(failed) < 8
    assert metrics["rollout/masked"] == metrics["rollout/faults/scripted"] == len(failed)
    assert all(one.reward is None and one.advantage is None for one in failed)
    assert failed[0].masked == "Reward scripted failed: The judge is away."
    assert metrics["rollout/reward"] == pytest.approx(
        sum(one.reward for one in stored if one.reward is not None) / (8 - len(failed))
    )
    assert events_of(tmp_path, "rollouts_stored")[0].masked == len(failed)
    tokens = sum(len(one.tokens) for one in stored if not one.masked)
    [batch] = work.algorithm.learn_from(work.seen, part=0).micro_batches
    assert batch.weight_K.tolist() == pytest.approx([1 / tokens] * tokens)


def test_filtered_rollouts_leave_numerator_and_denominator_but_stay_in_their_group(base: Path, tmp_path: Path):
    def judge(answer: Answer) -> float:
        return answer.tokens

    work, metrics = step_of(tmp_path, base, judge=judge, filter_overlong=True)
    cut = [one for one in work.seen if one.truncated]
    assert 0 < len(cut) < 8
    assert metrics["rollout/masked"] == len(cut)
    assert metrics["rollout/truncated_share"] == len(cut) / 8
    kept = [one for one in work.seen if not one.truncated]
    [batch] = work.algorithm.learn_from(work.seen, part=0).micro_batches
    assert batch.weight_K.sum().item() == pytest.approx(1.0)
    assert batch.targets == sum(one.sampled for one in kept)
    group = [one for one in work.seen if one.group == cut[0].group]
    assert sum(one.advantage for one in group) == pytest.approx(0.0, abs=1e-5)
    assert all(one.advantage for one in kept if one.group == cut[0].group)


def test_a_step_without_a_single_trained_rollout_changes_nothing(base: Path, tmp_path: Path):
    work = open_stage(tmp_path, GRPO, base)
    before = [weight.clone() for weight in work.policy.model.parameters()]
    work.algorithm.rewards = [Scripted(lambda answer: "The judge is away.")]
    metrics = work.optimize(work.collect()[0])
    assert metrics["train/loss"] == 0.0
    assert metrics["train/skipped_steps"] == 0
    assert all(torch.equal(a, b) for a, b in zip(before, work.policy.model.parameters(), strict=True))


def test_groups_that_teach_nothing_are_replaced_until_the_rounds_are_used_up(base: Path, tmp_path: Path):
    asked: list[str] = []

    def judge(answer: Answer) -> float:
        if answer.row["question"] not in asked:
            asked.append(answer.row["question"])
        return answer.tokens if asked.index(answer.row["question"]) == 2 else 1.0

    work, _ = step_of(tmp_path, base, judge=judge, dynamic_sampling={"rounds": 2})
    stored = read_rollouts(tmp_path, 1)
    replaced = {one.group for one in stored if one.masked.startswith("Replaced")}
    # Two prompts, of which neither teaches; two more, of which the first does; one more in the last round.
    assert len(asked) == 5
    assert sorted({one.group for one in stored}) == [0, 1, 2, 3, 4]
    assert replaced == {0, 1, 3, 4}
    [batch] = work.algorithm.learn_from([one for one in work.seen if one.group == 2], part=0).micro_batches
    assert batch.rollouts == 4
    assert work.algorithm.sampled_groups == 5
    assert len({one.prompt.name for one in work.seen}) == 5


def test_the_divergence_from_the_reference_begins_at_zero_and_pulls_back(base: Path, tmp_path: Path):
    plain, _ = step_of(tmp_path / "plain", base)
    held, metrics = step_of(tmp_path / "held", base, kl_weight=0.5)
    assert metrics["policy/kl"] == pytest.approx(0.0, abs=1e-6)
    for name, slope in gradients(plain).items():  # at the reference the divergence has no slope
        assert torch.allclose(gradients(held)[name], slope, atol=1e-6), name
    later = held.optimize(held.collect()[0])
    assert later["policy/kl"] > 1e-4
    assert later["policy/kl_loss"] > 0


def test_later_updates_of_a_round_weigh_tokens_against_the_weights_that_sampled(base: Path, tmp_path: Path):
    work = open_stage(tmp_path, {**GRPO, "updates_per_rollout": 2, "optimizer": {"learning_rate": 1e-2}}, base)
    first, second = work.collect()
    assert events_of(tmp_path, "rollouts_stored")[0].rollouts == 16
    assert first.micro_batches[0].old_logp_K is None
    later = second.micro_batches[0]
    assert torch.allclose(later.old_logp_K, later.behaviour_logp_K, atol=1e-4)
    on_policy, off_policy = work.optimize(first), work.optimize(second)
    assert on_policy["policy/ratio_max"] == 1.0
    assert off_policy["policy/ratio_max"] > 1.01
    assert off_policy["policy/logp_gap_max"] < 1e-4
    assert work.done == 2
    groups = {one.group for one in read_rollouts(tmp_path, 1)}
    assert groups == {0, 1, 2, 3}


def test_what_the_sampler_saw_otherwise_is_weighed_and_cut_at_the_cap(base: Path, tmp_path: Path):
    work = open_stage(tmp_path, {**GRPO, "importance_cap": 1.5}, base)
    [update] = work.collect()
    [batch] = update.micro_batches
    exact = work.algorithm.loss(batch, work.policy, targets=1)
    batch.behaviour_logp_K.sub_(math.log(1.2))
    a_fifth_more = work.algorithm.loss(batch, work.policy, targets=1)
    assert a_fifth_more.total.item() == pytest.approx(1.2 * exact.total.item(), rel=1e-4)
    assert a_fifth_more.largest["policy/logp_gap_max"] == pytest.approx(math.log(1.2), rel=1e-3)
    batch.behaviour_logp_K.sub_(1.0)
    assert work.algorithm.loss(batch, work.policy, targets=1).total.item() == pytest.approx(
        1.5 * exact.total.item(), rel=1e-4
    )


def test_a_whole_stage_tells_its_figures_and_keeps_its_rollouts(base: Path, tmp_path: Path):
    stage = {**GRPO, "held_out": [{"dataset": "others@1"}], "system_prompt": "Be brief."}
    out = write_rollout_run(tmp_path, [stage], base)
    assert run_here(out) == 0
    for key in (
        *("rollout/reward", "rollout/reward/overlong", "rollout/reward_std", "rollout/length"),
        *("rollout/truncated_share", "rollout/masked", "policy/entropy", "policy/clip_fraction", "policy/ratio_max"),
        *("policy/logp_gap", "policy/loss", "train/loss", "train/grad_norm", "train/skipped_steps"),
    ):
        assert list(metric(out, key)) == [1, 2, 3, 4], key
    assert sorted(metric(out, "held_out/others@1/reward")) == [0, 4]
    assert max(metric(out, "policy/logp_gap_max").values()) < 1e-4
    assert events_of(out, "stage_started")[0].notes["prompts"] == 12

    stored = read_rollouts(out, 3)
    event = events_of(out, "rollouts_stored")[2]
    assert (event.step, event.groups, event.rollouts, event.path) == (3, 2, 8, "rollouts/step-00000003.jsonl.zst")
    assert event.mean_reward == pytest.approx(metric(out, "rollout/reward")[3])
    one = stored[0]
    assert "".join(one.prompt).startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhen does")
    assert len(one.tokens) == len(one.trained) == len(one.logprobs)
    assert all(one.trained)
    assert one.reference.startswith("On day")
    assert one.row.startswith("questions@1#")
    shown = events_of(out, "batch_seen")[0].rows[0]
    assert [token.trained for token in shown] == sorted(token.trained for token in shown)
    assert "".join(token.text for token in shown if not token.trained).endswith("<|im_start|>assistant\n")
    # No rollout is sampled twice: the same prompt gives other completions in another round.
    assert len({one.text for step in range(1, 5) for one in read_rollouts(out, step)}) > 24
