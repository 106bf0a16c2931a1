"""Learning from the best and the worst of several completions: who is chosen, who is left out, what it does."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import zstandard
from pydantic import ValidationError

from tests.trainer_runs import TINY, events_of, metric, open_here, run_here, text_rows, write_rows, write_run
from trainer.algorithms.online_dpo import OnlineDpo
from trainer.algorithms.rf_nll import RfNll
from trainer.contract.rollouts import StoredRollout
from trainer.contract.stages.online_dpo import OnlineDpoStage
from trainer.contract.stages.rf_nll import RfNllStage
from trainer.rollouts.contests import rank_group
from trainer.rollouts.prompts import Prompt
from trainer.rollouts.rollout import Rollout
from trainer.sampling.engine import StopReason
from trainer.stage import StageWork

REWARD = {"kind": "regex_format", "pattern": "(?s).*e.*"}
INITIAL = {"kind": "cpt", "data": [{"dataset": "law@1"}], "steps": 1, "sequence_length": 64, "initialise": TINY}


def stage_of(kind: str, **settings: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "data": [{"dataset": "asked@1"}],
        "rewards": [REWARD],
        "steps": 10,
        "batch_size": 16,
        "group_size": 4,
        "sequence_length": 64,
        "sampling": {"max_new_tokens": 8},
        "optimizer": {"learning_rate": 5e-3, "schedule": "constant"},
        **settings,
    }


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("data")
    return {
        "law@1": write_rows(folder / "law.jsonl", text_rows(20), "text"),
        "asked@1": write_rows(folder / "asked.jsonl", [{"question": f"Market {n}?"} for n in range(20)], "prompts"),
    }


def group_of(rewards: list[float | None], *, group: int = 0, tokens: list[list[int]] | None = None) -> list[Rollout]:
    prompt = Prompt(name=f"asked@1#{group}", row={}, ids=(1, 2, 3), text="?")
    written = tokens or [[4 + index] * (index + 1) for index in range(len(rewards))]
    return [
        Rollout(
            prompt=prompt,
            group=group,
            index=index,
            token_ids=ids,
            trained=[True] * len(ids),
            logprobs=[-1.0] * len(ids),
            text="",
            stop_reason=StopReason.END_TOKEN,
            reward=reward,
            masked="" if reward is not None else "Reward judge failed: no answer",
        )
        for index, (reward, ids) in enumerate(zip(rewards, written, strict=True))
    ]


def open_stage(out: Path, datasets: dict[str, Any], kind: str, **settings: Any) -> StageWork:
    session = open_here(write_run(out, [INITIAL, stage_of(kind, **settings)], datasets))
    StageWork(session, 0, session.spec.recipe.stages[0])
    return StageWork(session, 1, session.spec.recipe.stages[1])


def test_ranking_leaves_out_what_has_no_value():
    ranked = rank_group(group_of([0.5, None, 1.0, 0.5, 0.0]))
    assert [rollout.index for rollout in ranked] == [2, 0, 3, 4]


def test_a_pair_is_the_best_and_the_worst_that_could_be_valued(tmp_path: Path, datasets: dict[str, Any]):
    algorithm = open_stage(tmp_path, datasets, "online_dpo").algorithm
    assert isinstance(algorithm, OnlineDpo)
    group = group_of([0.5, None, 1.0, 0.0])
    update = algorithm.learn_from([*group, *group_of([0.3, 0.3, 0.3], group=1)], part=0)
    [batch] = update.micro_batches
    assert batch.document_lengths == [3 + 3, 3 + 4]  # type: ignore[attr-defined]
    assert [rollout.detail.get("preferred") for rollout in group] == [None, None, True, False]
    assert [rollout.masked.split(":")[0] for rollout in group] == [
        "Neither the best nor the worst of its prompt.",
        "Reward judge failed",
        "",
        "",
    ]
    assert update.metrics == {
        "preference/pairs": 1.0,
        "preference/tied_share": 0.5,
        "preference/reward_difference": 1.0,
    }
    terms = algorithm.loss(batch, algorithm.context.policy, targets=1)
    assert (terms.counted, terms.total.item()) == (1, pytest.approx(math.log(2), rel=1e-4))


@pytest.mark.parametrize(
    ("rewards", "tokens", "least"),
    [
        ([1.0, 1.0], None, 0.0),
        ([0.1 + 0.2, 0.3], None, 0.0),
        ([1.0, 0.8], None, 0.25),
        ([1.0, None], None, 0.0),
        ([1.0, 0.0], [[5, 6], [5, 6]], 0.0),
    ],
    ids=["equal", "equal but for rounding", "too near", "one valued", "same tokens"],
)
def test_ties_make_no_pair(
    rewards: list[float | None], tokens: Any, least: float, tmp_path: Path, datasets: dict[str, Any]
):
    work = open_stage(tmp_path, datasets, "online_dpo", least_difference=least)
    algorithm = work.algorithm
    assert isinstance(algorithm, OnlineDpo)
    update = algorithm.learn_from(group_of(rewards, tokens=tokens), part=0)
    assert list(update.micro_batches) == []
    before = [weight.detach().clone() for weight in work.policy.model.parameters()]
    assert work.optimize(update)["train/loss"] == 0.0
    assert all(torch.equal(a, b) for a, b in zip(before, work.policy.model.parameters(), strict=True))


@pytest.mark.parametrize(
    ("rewards", "least", "chosen", "reasons"),
    [
        ([0.2, 0.9, None], None, 1, ["Not the best of its prompt.", "", "Reward judge failed: no answer"]),
        ([0.4, 0.4], None, None, ["A tie: the completions of the prompt are worth the same."] * 2),
        ([0.1 + 0.2, 0.3], None, None, ["A tie: the completions of the prompt are worth the same."] * 2),
        ([0.4, 0.4], 0.3, 0, ["", "Not the best of its prompt."]),
        ([0.4, 0.2], 0.5, None, ["No completion of the prompt reaches 0.5."] * 2),
        ([None, None], None, None, ["Reward judge failed: no answer"] * 2),
    ],
)
def test_the_best_of_a_prompt_trains_alone(
    rewards: list[float | None],
    least: float | None,
    chosen: int | None,
    reasons: list[str],
    tmp_path: Path,
    datasets: dict[str, Any],
):
    algorithm = open_stage(tmp_path, datasets, "rf_nll", least_reward=least).algorithm
    assert isinstance(algorithm, RfNll)
    group = group_of(rewards)
    update = algorithm.learn_from(group, part=0)
    assert [rollout.masked for rollout in group] == reasons
    assert update.metrics["filter/kept_share"] == (0.0 if chosen is None else 1.0)
    if chosen is not None:
        [batch] = update.micro_batches
        policy = algorithm.context.policy
        terms = algorithm.loss(batch, policy, targets=batch.targets)
        ids = torch.tensor([1, 2, 3, *group[chosen].token_ids])
        logp = (policy.hidden(batch) @ policy.model.get_output_embeddings().weight.T).log_softmax(-1)  # type: ignore[arg-type]
        expected = -logp[2:-1].gather(1, ids[3:, None]).mean().item()
        assert terms.total.item() == pytest.approx(expected, rel=1e-5)


def test_settings_without_a_contest_are_refused():
    with pytest.raises(ValidationError, match="group_size 1 leaves nothing to choose from"):
        RfNllStage.model_validate(stage_of("rf_nll", group_size=1))
    assert RfNllStage.model_validate(stage_of("rf_nll", group_size=1, least_reward=0.5)).group_size == 1
    with pytest.raises(ValidationError, match="greater than or equal to 2"):
        OnlineDpoStage.model_validate(stage_of("online_dpo", group_size=1))


@pytest.mark.parametrize("kind", ["online_dpo", "rf_nll"])
def test_gradients_do_not_depend_on_how_the_step_is_cut(kind: str, datasets: dict[str, Any], tmp_path: Path):
    found: list[tuple[float, torch.Tensor]] = []
    for accumulation in (1, 2, 4):
        settings = {"gradient_accumulation": accumulation, "optimizer": {"clip_norm": 1e9}, "batch_size": 32}
        work = open_stage(tmp_path / f"{accumulation}", datasets, kind, **settings)
        [update] = work.collect()
        metrics = work.optimize(update)
        gradient = torch.cat([weight.grad.flatten() for weight in work.policy.model.parameters()])
        found.append((metrics["train/loss"], gradient))
        assert (len(update.micro_batches) > 1) == (accumulation > 1)
        work.session.events.close()
    for loss, gradient in found[1:]:
        assert loss == pytest.approx(found[0][0], rel=1e-5)
        assert (gradient - found[0][1]).norm() <= 1e-5 * found[0][1].norm()


@pytest.mark.parametrize("kind", ["online_dpo", "rf_nll"])
def test_what_is_rewarded_is_written_more_often_and_a_resumed_run_ends_the_same(
    kind: str, datasets: dict[str, Any], tmp_path: Path
):
    settings = {"batch_size": 64, "optimizer": {"learning_rate": 1e-2, "schedule": "constant"}}
    settings |= {"beta": 0.5} if kind == "online_dpo" else {}
    stages = [INITIAL, stage_of(kind, steps=24, checkpoint_every=12, **settings)]
    whole = write_run(tmp_path / "whole", stages, datasets)
    assert run_here(whole) == 0
    rewards = list(metric(whole, "rollout/reward").values())
    assert sum(rewards[-4:]) / 4 > 0.6 > 1.2 * sum(rewards[:4]) / 4
    part = write_run(tmp_path / "part", stages, datasets, resume_from=str(whole / "checkpoints" / "step-000013"))
    assert run_here(part) == 0
    for key in ("train/loss", "rollout/reward"):
        assert metric(part, key) == {step: value for step, value in metric(whole, key).items() if step > 13}, key
    assert events_of(part, "checkpoint_saved")[-1].sha256 == events_of(whole, "checkpoint_saved")[-1].sha256
    path = whole / events_of(whole, "rollouts_stored")[0].path
    lines = zstandard.ZstdDecompressor().decompress(path.read_bytes()).splitlines()
    stored = [StoredRollout.model_validate_json(line) for line in lines]
    assert len(stored) == 64
    assert all(one.masked for one in stored if kind == "online_dpo" and "preferred" not in one.detail)
