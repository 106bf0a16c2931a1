"""Our losses beside TRL's on the same numbers. Runs where TRL 1.16 is to be had: in the environment that `make bench`
makes, or where PEER_PYTHON names a Python that has it.

TRL's own code computes the right-hand side: its trainers' loss methods, given log-probabilities in place of a model.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.trainer_runs import REPOSITORY
from trainer.advantages import group_advantages
from trainer.losses import IGNORED, divergence, summed_f_alpha, summed_nll
from trainer.losses.policy_gradient import clipped_surrogate, k3_divergence, truncated_importance
from trainer.losses.preference import preference_losses, preference_margin
from trainer.rollouts.batch import shares_of_tokens

_made = REPOSITORY / "build/peer-venv/bin/python"
PEER = os.environ.get("PEER_PYTHON") or (str(_made) if _made.exists() else "")

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(not PEER, reason="no Python with TRL; make bench ONLY=trainer makes one, or set PEER_PYTHON"),
]


def ask_peer(program: str, given: dict[str, Any], folder: Path) -> Any:
    """What a program of the peer's answers: it finds `given` and prints its `answers` as JSON."""
    torch.save(given, folder / "given.pt")
    source = f"import json, sys, torch\ngiven = torch.load(sys.argv[1])\n{program}\nprint('@@' + json.dumps(answers))"
    done = subprocess.run(
        [PEER, "-c", source, str(folder / "given.pt")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": ""},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.rpartition("@@")[2])


DIVERGENCE = """
from trl.experimental.gkd import GKDTrainer
answers = []
for beta, temperature in given["settings"]:
    student = given["student"].clone().requires_grad_()
    loss = GKDTrainer.generalized_jsd_loss(
        student, given["teacher"], labels=given["labels"], beta=beta, temperature=temperature
    )
    loss.backward()
    answers.append([loss.item(), student.grad.flatten().tolist()])
"""


def test_divergence_and_its_slopes_are_those_of_trl(tmp_path: Path):
    settings = [(0.0, 1.0), (0.3, 1.0), (0.5, 2.0), (1.0, 0.7)]
    generator = torch.Generator().manual_seed(0)
    student, teacher = (2 * torch.randn(2, 7, 11, generator=generator) for _ in range(2))
    labels = torch.randint(11, (2, 7), generator=generator)
    labels[0, :3] = labels[1, 5:] = IGNORED
    given = {"student": student, "teacher": teacher, "labels": labels, "settings": settings}
    answers = ask_peer(DIVERGENCE, given, tmp_path)
    # Hidden states that are logits already: the head is the identity.
    kept = labels.flatten() != IGNORED
    head = torch.eye(11)
    for (beta, temperature), (loss, slopes) in zip(settings, answers, strict=True):
        hidden = student.reshape(-1, 11)[kept].clone().requires_grad_()
        found = divergence(
            hidden, head, teacher.reshape(-1, 11)[kept], head, beta=beta, temperature=temperature
        ).total / int(kept.sum())
        found.backward()
        assert found.item() == pytest.approx(loss, rel=1e-5)
        assert hidden.grad is not None
        assert torch.allclose(hidden.grad, torch.tensor(slopes).reshape(-1, 11)[kept], atol=1e-6)


POLICY_GRADIENT = """
from collections import defaultdict
from types import SimpleNamespace
from trl import GRPOTrainer
from trl.trainer.grpo_config import GRPOConfig

class Alone:
    num_processes = 1
    gather = staticmethod(lambda value: value)
    reduce = staticmethod(lambda value, reduction: value)

answers = []
for setting in given["settings"]:
    logp = given["logp"].clone().requires_grad_()
    trainer = object.__new__(GRPOTrainer)
    trainer.__dict__.update(
        accelerator=Alone(), aux_loss_enabled=False, top_entropy_quantile=1.0, off_policy_mask_threshold=None,
        importance_sampling_level=setting["ratio"], beta=setting["kl"], loss_type=setting["loss_type"],
        epsilon_low=setting["low"], epsilon_high=setting["high"], use_vllm=setting["capped"],
        vllm_importance_sampling_correction=True, max_completion_length=logp.shape[1],
        current_gradient_accumulation_steps=1, _entropy_bonus_enabled=False,
        _metrics=defaultdict(lambda: defaultdict(list)), model=SimpleNamespace(training=True),
        args=SimpleNamespace(delta=setting["delta"], use_bias_correction_kl=False, steps_per_generation=1),
        _get_per_token_logps_and_entropies=lambda *a, **k: (logp, torch.zeros_like(logp), None),
    )
    mask = given["mask"]
    loss = trainer._compute_loss(None, dict(
        prompt_ids=mask[:, :1], prompt_mask=mask[:, :1], completion_ids=mask.long(), completion_mask=mask,
        advantages=given["advantages"], old_per_token_logps=given["old"], ref_per_token_logps=given["reference"],
        num_items_in_batch=mask.sum(),
        importance_sampling_ratio=torch.exp(given["old"] - given["sampler"]).clamp(max=2.0),
    ))
    loss.backward()
    answers.append([loss.item(), logp.grad.flatten().tolist()])
"""
PLAIN = {"ratio": "token", "kl": 0.0, "low": 0.2, "high": 0.2, "delta": None, "capped": False}
POLICY_SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("sequence_mean", {**PLAIN, "loss_type": "grpo"}),
    ("token_mean", {**PLAIN, "loss_type": "dapo", "high": 0.28}),
    ("constant", {**PLAIN, "loss_type": "dr_grpo"}),
    ("token_mean", {**PLAIN, "loss_type": "dapo", "kl": 0.1, "capped": True}),
    ("sequence_mean", {**PLAIN, "loss_type": "grpo", "ratio": "sequence", "low": 0.01, "high": 0.02}),
    ("token_mean", {**PLAIN, "loss_type": "dapo", "delta": 1.3}),
]


def our_policy_gradient(logp: Tensor, given: dict[str, Any], aggregation: str, setting: dict[str, Any]) -> Tensor:
    mask, lengths = given["mask"].bool(), given["mask"].sum(1).long()
    rollout_K = torch.arange(len(mask))[:, None].expand(mask.shape)[mask]
    surrogate = clipped_surrogate(
        logp[mask],
        given["old"][mask],
        given["advantages"][rollout_K],
        clip_low=setting["low"],
        clip_high=setting["high"],
        dual_clip=setting["delta"],
        rollout_K=rollout_K if setting["ratio"] == "sequence" else None,
        rollouts=len(mask),
    )
    loss_K = surrogate.loss_K
    if setting["capped"]:
        loss_K = loss_K * truncated_importance(given["old"][mask], given["sampler"][mask], 2.0)
    if setting["kl"]:
        loss_K = loss_K + setting["kl"] * k3_divergence(logp[mask], given["reference"][mask])
    shares = shares_of_tokens(lengths.tolist(), aggregation=aggregation, constant=mask.shape[1])
    return (loss_K * torch.tensor(shares)[rollout_K]).sum()


def test_policy_gradients_and_their_slopes_are_those_of_trl(tmp_path: Path):
    generator = torch.Generator().manual_seed(1)
    lengths = torch.tensor([9, 4, 1, 6])
    mask = (torch.arange(9)[None] < lengths[:, None]).float()
    logp = -torch.rand(4, 9, generator=generator) * 3
    near = [logp + 0.3 * torch.randn(4, 9, generator=generator) for _ in range(3)]
    # TRL's two-sided clip stops where a token of negative advantage weighs delta, as a dual clip does.
    given = {
        **{"logp": logp, "mask": mask, "advantages": torch.tensor([1.2, -0.7, 0.3, -1.5])},
        **{"old": near[0], "reference": near[1], "sampler": near[2]},
        **{"settings": [setting for _, setting in POLICY_SETTINGS]},
    }
    answers = ask_peer(POLICY_GRADIENT, given, tmp_path)
    for (aggregation, setting), (loss, slopes) in zip(POLICY_SETTINGS, answers, strict=True):
        mine = logp.clone().requires_grad_()
        found = our_policy_gradient(mine, given, aggregation, setting)
        found.backward()
        assert found.item() == pytest.approx(loss, rel=1e-5, abs=1e-7), setting
        assert mine.grad is not None
        assert torch.allclose(mine.grad, torch.tensor(slopes).reshape(4, 9), rtol=1e-5, atol=1e-7), setting


ADVANTAGES = """
from trl.trainer.grpo_trainer import nanstd
rewards = given["rewards"].view(-1, 4)
centred = rewards - rewards.nanmean(dim=1, keepdim=True)
answers = (centred / (nanstd(rewards, dim=1)[:, None] + 1e-4)).tolist()
"""


def test_advantages_are_those_of_trl_with_its_epsilon(tmp_path: Path):
    rewards = torch.tensor([0.0, 1.0, 2.0, 5.0, 0.3, 0.3, 0.3, 0.4, 1.0, float("nan"), 0.0, 0.0])
    answers = ask_peer(ADVANTAGES, {"rewards": rewards}, tmp_path)
    for group, theirs in zip(rewards.view(-1, 4).tolist(), answers, strict=True):
        known = [None if reward != reward else reward for reward in group]
        ours = group_advantages(known, divide_by_std=True, epsilon=1e-4)
        assert [one is None for one in ours] == [one != one for one in theirs]
        assert [one for one in ours if one is not None] == pytest.approx(
            [one for one in theirs if one == one], rel=1e-5
        )


SPOKEN_FOR = """
from collections import defaultdict
from types import SimpleNamespace

class Alone:
    device = torch.device("cpu")
    parallelism_config = None
    num_processes = 1
    gather_for_metrics = gather = staticmethod(lambda value: value)

class Saying:
    # A model that gives these log-probabilities of the labels whatever it reads.
    training = True
    def __init__(self, logp, mask):
        blank = torch.zeros_like(logp)
        self.said = SimpleNamespace(
            log_probs=logp * mask, entropy=blank, mean_logits=blank, is_top1=blank.bool(), label_mask=mask.bool()
        )
    def __call__(self, **inputs):
        return self.said

def bare(kind, model, **settings):
    trainer = object.__new__(kind)
    trainer.__dict__.update(
        model=model, accelerator=Alone(), aux_loss_enabled=False, _total_train_tokens=0, _tp_size=1,
        _metrics=defaultdict(lambda: defaultdict(list)), **settings,
    )
    return trainer
"""
"""A trainer of the peer without a model, its loss method given log-probabilities."""

PREFERENCES = (
    SPOKEN_FOR
    + """
from trl import DPOTrainer
answers = []
mask = given["mask"]
chosen, rejected = (given["reference"] * mask[:, 1:]).sum(1).chunk(2)
for beta, loss_type in given["settings"]:
    logp = given["logp"].clone().requires_grad_()
    model = Saying(logp, mask[:, 1:])
    trainer = bare(
        DPOTrainer, model, ld_alpha=None, precompute_ref_logps=True, f_divergence_type="reverse_kl",
        loss_types=[loss_type], loss_weights=[1.0], beta=beta, label_smoothing=0.0, use_weighting=False,
    )
    loss = trainer._compute_loss(model, dict(
        input_ids=mask.long(), attention_mask=torch.ones_like(mask), completion_mask=mask,
        ref_chosen_logps=chosen, ref_rejected_logps=rejected,
    ), False)
    loss.backward()
    answers.append([loss.item(), logp.grad.flatten().tolist()])
"""
)


def test_preferences_and_their_slopes_are_those_of_trl(tmp_path: Path):
    """Of IPO TRL takes means over tokens where we take sums: on answers of one token both are the same."""
    generator = torch.Generator().manual_seed(2)
    for settings, lengths in (
        ([(0.1, "sigmoid"), (0.7, "sigmoid")], [3, 5, 2, 4]),
        ([(0.1, "ipo"), (0.5, "ipo")], [1] * 4),
    ):
        mask = ((torch.arange(8) > 1) & (torch.arange(8) < 2 + torch.tensor(lengths)[:, None])).float()
        logp, reference = (-2 * torch.rand(4, 7, generator=generator) for _ in range(2))
        given = {"logp": logp, "reference": reference, "mask": mask, "settings": settings}
        answers = ask_peer(PREFERENCES, given, tmp_path)
        for (beta, loss), (value, slopes) in zip(settings, answers, strict=True):
            mine = logp.clone().requires_grad_()
            chosen, rejected = (mine * mask[:, 1:]).sum(1).chunk(2)
            ref_chosen, ref_rejected = (reference * mask[:, 1:]).sum(1).chunk(2)
            margin = preference_margin(chosen, rejected, ref_chosen, ref_rejected)
            found = preference_losses(margin, beta=beta, loss=loss).mean()  # type: ignore[arg-type]
            found.backward()
            assert found.item() == pytest.approx(value, rel=1e-5)
            assert mine.grad is not None
            assert torch.allclose(mine.grad, torch.tensor(slopes).reshape(4, 7), rtol=1e-5, atol=1e-7)


LIKELIHOOD = (
    SPOKEN_FOR
    + """
from trl import SFTTrainer
answers = []
for loss_type in ("nll", "dft"):
    logits = given["logits"].clone().requires_grad_()
    shifted = given["labels"][:, 1:]
    mask = (shifted != -100).float()
    logp = logits[:, :-1].log_softmax(-1).gather(2, shifted.clamp(min=0)[..., None])[..., 0]
    model = Saying(logp, mask)
    trainer = bare(
        SFTTrainer, model, compute_loss_func=None, label_smoother=None, get_tp_size=lambda: 1,
        args=SimpleNamespace(loss_type=loss_type, average_tokens_across_devices=False),
    )
    inputs = dict(labels=given["labels"], attention_mask=torch.ones_like(given["labels"]))
    loss = trainer.compute_loss(model, inputs, num_items_in_batch=given["items"])
    loss.backward()
    answers.append([loss.item(), logits.grad.flatten().tolist()])
"""
)


def test_likelihood_and_dynamic_fine_tuning_are_those_of_trl(tmp_path: Path):
    """Over the tokens of a whole step, here 11 of which this micro-batch has 6. The value of DFT is p · −log p, ours of
    f_α with α = 1 is 1 − p; their slopes are the same."""
    generator = torch.Generator().manual_seed(3)
    logits = 2 * torch.randn(2, 6, 9, generator=generator)
    labels = torch.randint(9, (2, 6), generator=generator)
    labels[0, :3] = labels[1, 4:] = IGNORED
    answers = ask_peer(LIKELIHOOD, {"logits": logits, "labels": labels, "items": torch.tensor(11)}, tmp_path)
    shifted = torch.full_like(labels, IGNORED)
    shifted[:, :-1] = labels[:, 1:]
    kept = shifted.flatten() != IGNORED
    for objective, (loss, slopes) in zip(("nll", "f_alpha"), answers, strict=True):
        mine = logits.clone().requires_grad_()
        hidden_KH, head = mine.reshape(-1, 9)[kept], torch.eye(9)
        if objective == "nll":
            found = summed_nll(hidden_KH, head, shifted.flatten()[kept]) / 11
            assert found.item() == pytest.approx(loss, rel=1e-5)
        else:
            found = summed_f_alpha(hidden_KH, head, shifted.flatten()[kept], alpha=1.0)[0] / 11
        found.backward()
        assert mine.grad is not None
        assert torch.allclose(mine.grad, torch.tensor(slopes).reshape(2, 6, 9), atol=1e-6)
