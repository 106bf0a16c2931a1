"""Objectives of supervised fine-tuning other than likelihood: values, gradients, thresholds, what the sum is over."""

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tests.trainer_runs import TINY, chat_rows, events_of, metric, open_here, run_here, text_rows, write_rows, write_run
from trainer.algorithms.sft import Sft
from trainer.contract.stages.cpt import ModelShape
from trainer.contract.stages.sft import SftStage
from trainer.data.batch import TokenBatch, flatten
from trainer.losses import IGNORED
from trainer.policy import Policy, initialise_policy
from trainer.tokenizer import train_tokenizer

CPU = torch.device("cpu")


def stage_of(**settings: Any) -> SftStage:
    return SftStage(data=[{"dataset": "chat@1"}], steps=1, **settings)


class OneToken:
    """A policy of two tokens whose only hidden unit is its only weight: p(token 0) = sigmoid(weight)."""

    def __init__(self, *probabilities: float) -> None:
        logits = [math.log(p / (1 - p)) for p in probabilities]
        self.states = torch.tensor(logits)[:, None].requires_grad_()
        self.model = self
        self.weight = torch.tensor([[1.0], [0.0]])

    def hidden(self, batch: TokenBatch) -> torch.Tensor:
        return self.states

    def get_output_embeddings(self) -> "OneToken":
        return self


def loss_of(policy: OneToken, **settings: Any) -> tuple[float, list[float], int | None]:
    """Loss, slope of each position's logit, and how many targets counted; every position's target is token 0."""
    count = len(policy.states)
    batch = TokenBatch(
        ids_N=torch.zeros(count, dtype=torch.long),
        positions_N=torch.arange(count),
        labels_N=torch.zeros(count, dtype=torch.long),
        document_lengths=[count],
        targets=count,
    )
    terms = Sft(stage_of(**settings)).loss(batch, policy, targets=count)  # type: ignore[arg-type]
    [slope] = torch.autograd.grad(terms.total, policy.states)
    return terms.total.item(), slope[:, 0].tolist(), terms.counted


def test_one_minus_p_by_hand():
    # p = 0.8 and 0.5: the mean of 0.2 and 0.5; slopes −p(1 − p)/2.
    loss, slopes, counted = loss_of(OneToken(0.8, 0.5), objective="f_alpha", alpha=1.0)
    assert loss == pytest.approx(0.35)
    assert slopes == pytest.approx([-0.08, -0.125])
    assert counted is None


@pytest.mark.parametrize(
    ("alpha", "value", "slope"),
    [
        (2.0, (1 - 0.25**2) / 2, -(0.25**2) * 0.75),
        (-1.0, 4 - 1, -(1 / 0.25) * 0.75),
        (0.0, math.log(4), -0.75),
    ],
)
def test_other_exponents_by_hand(alpha: float, value: float, slope: float):
    loss, slopes, _ = loss_of(OneToken(0.25), objective="f_alpha", alpha=alpha)
    assert loss == pytest.approx(value)
    assert slopes == pytest.approx([slope])


@pytest.mark.parametrize(
    ("objective", "values", "kept"),
    [
        ("only_top_p", [0.1, 0.5, 0.0], 2),
        ("only_bottom_p", [0.0, 0.5, 0.8], 2),
        ("only_top_logp", [-math.log(0.9), -math.log(0.5), 0.0], 2),
        ("only_bottom_logp", [0.0, -math.log(0.5), -math.log(0.2)], 2),
    ],
)
def test_a_threshold_drops_one_side_and_leaves_the_divisor_to_the_recipe(
    objective: str, values: list[float], kept: int
):
    # p = 0.9, 0.5, 0.2 at the threshold ½, on which a token belongs to both sides.
    policy = OneToken(0.9, 0.5, 0.2)
    loss, slopes, counted = loss_of(policy, objective=objective, threshold=0.5)
    assert loss == pytest.approx(sum(values) / 3)
    assert [slope == 0 for slope in slopes] == [value == 0 for value in values]
    assert counted is None
    assert loss_of(policy, objective=objective, threshold=0.5, denominator="kept")[2] == kept


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"alpha": 2.0}, "alpha says nothing to the objective nll; use f_alpha, or remove alpha"),
        ({"objective": "f_alpha", "threshold": 0.3}, "threshold says nothing"),
        ({"denominator": "kept"}, "denominator says nothing"),
        ({"objective": "f_alpha", "alpha": 21.0}, "less than or equal to 20"),
    ],
)
def test_settings_that_would_do_nothing_are_refused(settings: dict[str, Any], word: str):
    with pytest.raises(ValidationError, match=word):
        stage_of(**settings)


@pytest.fixture(scope="module")
def policy() -> Policy:
    tokenizer = train_tokenizer([row["text"] for row in text_rows(30)], vocab_size=320, context_length=128)
    policy = initialise_policy(ModelShape(**TINY), tokenizer, seed=0, device=CPU)
    policy.train_on_documents()
    return policy


@pytest.fixture(scope="module")
def batch() -> TokenBatch:
    generator = np.random.default_rng(0)
    documents = [
        (generator.integers(0, 300, length).astype(np.int32), generator.random(length) < 0.6) for length in (9, 14)
    ]
    return flatten(documents, device=CPU)


def gradient_of(policy: Policy, batch: TokenBatch, **settings: Any) -> tuple[float, torch.Tensor]:
    policy.model.zero_grad(set_to_none=True)
    loss = Sft(stage_of(**settings)).loss(batch, policy, targets=batch.targets).total
    loss.backward()
    return loss.item(), torch.cat([weight.grad.flatten() for weight in policy.model.parameters()])


def test_a_tiny_exponent_is_likelihood(policy: Policy, batch: TokenBatch):
    loss, gradient = gradient_of(policy, batch)
    for alpha in (1e-6, -1e-6, 0.0):
        other, found = gradient_of(policy, batch, objective="f_alpha", alpha=alpha)
        assert other == pytest.approx(loss, rel=1e-4)
        assert (found - gradient).norm() <= 1e-4 * gradient.norm()


def test_the_gradient_is_that_of_likelihood_weighed_by_p_to_alpha(policy: Policy, batch: TokenBatch):
    target_N = batch.labels_N != IGNORED
    for alpha in (1.0, 0.5, -0.5):
        _, found = gradient_of(policy, batch, objective="f_alpha", alpha=alpha)
        policy.model.zero_grad(set_to_none=True)
        logits_NV = policy.hidden(batch)[target_N] @ policy.model.get_output_embeddings().weight.T
        logp_K = logits_NV.log_softmax(-1).gather(1, batch.labels_N[target_N][:, None])[:, 0]
        (-(logp_K.detach() * alpha).exp() * logp_K).sum().div(batch.targets).backward()
        wanted = torch.cat([weight.grad.flatten() for weight in policy.model.parameters()])
        assert (found - wanted).norm() <= 1e-5 * wanted.norm()


@pytest.mark.parametrize(
    "settings", [{"objective": "f_alpha", "alpha": 0.7}, {"objective": "only_bottom_p", "threshold": 0.9}]
)
def test_gradients_are_finite_differences(policy: Policy, batch: TokenBatch, settings: dict[str, Any]):
    double = Policy(copy.deepcopy(policy.model).double(), policy.tokenizer)
    weights = list(double.model.parameters())
    before = [weight.detach().clone() for weight in weights]
    _, gradient = gradient_of(double, batch, **settings)
    along = [weight.grad / gradient.norm() for weight in weights]
    losses = []
    for size in (1e-2, -1e-2):
        with torch.no_grad():
            for weight, start, direction in zip(weights, before, along, strict=True):
                weight.copy_(start + size * direction)
        losses.append(gradient_of(double, batch, **settings)[0])
    assert (losses[0] - losses[1]) / 2e-2 == pytest.approx(gradient.norm().item(), rel=2e-3)  # norms compute in fp32


def test_likelihood_is_reported_beside_every_objective(policy: Policy, batch: TokenBatch):
    nll = policy.summed_nll(batch).item()
    for settings in ({"objective": "f_alpha"}, {"objective": "only_top_p", "threshold": 1.0, "denominator": "kept"}):
        terms = Sft(stage_of(**settings)).loss(batch, policy, targets=1)
        assert terms.reported["train/nll"] == (pytest.approx(nll, rel=1e-6), batch.targets)
    assert terms.reported["train/kept_share"] == (0.0, batch.targets)
    assert (terms.counted, terms.total.item()) == (0, 0.0)


def test_likelihood_takes_the_short_path_whatever_the_new_settings_are(policy: Policy, batch: TokenBatch):
    expected = policy.summed_nll(batch) / batch.targets
    assert Sft(stage_of()).loss(batch, policy, targets=batch.targets).total.item() == expected.item()


@pytest.mark.parametrize(
    "settings",
    [
        {"objective": "f_alpha", "alpha": -0.5},
        {"objective": "only_bottom_logp", "threshold": 0.01, "denominator": "kept"},
    ],
)
def test_a_resumed_run_ends_bit_for_bit_the_same(tmp_path: Path, settings: dict[str, Any]):
    datasets = {
        "law@1": write_rows(tmp_path / "law.jsonl", text_rows(20), "text"),
        "chat@1": write_rows(tmp_path / "chat.jsonl", chat_rows(40), "chat"),
        "held@1": write_rows(tmp_path / "held.jsonl", chat_rows(60)[40:], "chat"),
    }
    stages = [
        {"kind": "cpt", "data": [{"dataset": "law@1"}], "steps": 1, "sequence_length": 64, "initialise": TINY},
        {
            "kind": "sft",
            "data": [{"dataset": "chat@1"}],
            "held_out": [{"dataset": "held@1"}],
            "steps": 10,
            "batch_size": 4,
            "sequence_length": 96,
            "checkpoint_every": 5,
            "optimizer": {"learning_rate": 3e-3},
            **settings,
        },
    ]
    whole = write_run(tmp_path / "whole", stages, datasets)
    assert run_here(whole) == 0
    part = write_run(tmp_path / "part", stages, datasets, resume_from=str(whole / "checkpoints" / "step-000006"))
    assert run_here(part) == 0
    for key in ("train/loss", "train/nll"):
        assert metric(part, key) == {step: value for step, value in metric(whole, key).items() if step > 6}, key
    assert events_of(part, "checkpoint_saved")[-1].sha256 == events_of(whole, "checkpoint_saved")[-1].sha256
    nll, perplexity = (metric(whole, f"held_out/held@1/{key}") for key in ("nll", "perplexity"))
    assert nll[11] < nll[1]
    assert perplexity[11] == pytest.approx(math.exp(nll[11]))


@pytest.mark.parametrize("denominator", ["supervised", "kept"])
def test_gradients_do_not_depend_on_how_the_step_is_cut(tmp_path: Path, denominator: str):
    from trainer.stage import StageWork

    datasets = {
        "law@1": write_rows(tmp_path / "law.jsonl", text_rows(20), "text"),
        "chat@1": write_rows(tmp_path / "chat.jsonl", chat_rows(40), "chat"),
    }
    initial = {"kind": "cpt", "data": [{"dataset": "law@1"}], "steps": 1, "sequence_length": 64, "initialise": TINY}
    found: list[tuple[float, torch.Tensor]] = []
    for accumulation in (1, 2, 8):
        stage = {
            "kind": "sft",
            "data": [{"dataset": "chat@1"}],
            "objective": "only_bottom_p",
            "threshold": 0.0029,  # near 1/320, where random weights put about half of the tokens
            "denominator": denominator,
            "steps": 1,
            "batch_size": 8,
            "sequence_length": 96,
            "gradient_accumulation": accumulation,
            "optimizer": {"clip_norm": 1e9},
        }
        session = open_here(write_run(tmp_path / f"{accumulation}", [initial, stage], datasets))
        StageWork(session, 0, session.spec.recipe.stages[0])
        work = StageWork(session, 1, session.spec.recipe.stages[1])
        [update] = work.collect()
        metrics = work.optimize(update)
        assert session.policy is not None
        gradient = torch.cat([weight.grad.flatten() for weight in session.policy.model.parameters()])
        found.append((metrics["train/loss"], gradient))
        session.events.close()
    for loss, gradient in found[1:]:
        assert loss == pytest.approx(found[0][0], rel=1e-5)
        assert (gradient - found[0][1]).norm() <= 1e-5 * found[0][1].norm()
    # 1 − p of a token with p ≤ 0.0029: the mean over the kept tokens, or some share of it over all.
    low, high = (0.997, 1.0) if denominator == "kept" else (0.2, 0.8)
    assert low < found[0][0] < high
