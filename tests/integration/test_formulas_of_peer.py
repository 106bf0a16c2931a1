"""Our divergence beside TRL's on the same numbers. Runs where PEER_PYTHON names a Python that has TRL 1.16."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch

from trainer.losses import IGNORED, divergence

PEER = os.environ.get("PEER_PYTHON", "")
PROGRAM = """
import json, sys, torch
from trl.experimental.gkd import GKDTrainer
given = torch.load(sys.argv[1])
answers = []
for beta, temperature in given["settings"]:
    student = given["student"].clone().requires_grad_()
    loss = GKDTrainer.generalized_jsd_loss(
        student, given["teacher"], labels=given["labels"], beta=beta, temperature=temperature
    )
    loss.backward()
    answers.append([loss.item(), student.grad.flatten().tolist()])
print("@@" + json.dumps(answers))
"""
SETTINGS = [(0.0, 1.0), (0.3, 1.0), (0.5, 2.0), (1.0, 0.7)]

pytestmark = pytest.mark.skipif(not PEER, reason="PEER_PYTHON names no Python with TRL")


def test_divergence_and_its_slopes_are_those_of_trl(tmp_path: Path):
    generator = torch.Generator().manual_seed(0)
    student, teacher = (2 * torch.randn(2, 7, 11, generator=generator) for _ in range(2))
    labels = torch.randint(11, (2, 7), generator=generator)
    labels[0, :3] = labels[1, 5:] = IGNORED
    torch.save({"student": student, "teacher": teacher, "labels": labels, "settings": SETTINGS}, tmp_path / "given.pt")
    done = subprocess.run(
        [PEER, "-c", PROGRAM, str(tmp_path / "given.pt")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": ""},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answers = json.loads(done.stdout.rpartition("@@")[2])
    # Hidden states that are logits already: the head is the identity.
    kept = labels.flatten() != IGNORED
    head = torch.eye(11)
    for (beta, temperature), (loss, slopes) in zip(SETTINGS, answers, strict=True):
        hidden = student.reshape(-1, 11)[kept].clone().requires_grad_()
        found = divergence(
            hidden, head, teacher.reshape(-1, 11)[kept], head, beta=beta, temperature=temperature
        ).total / int(kept.sum())
        found.backward()
        assert found.item() == pytest.approx(loss, rel=1e-5)
        assert hidden.grad is not None
        assert torch.allclose(hidden.grad, torch.tensor(slopes).reshape(-1, 11)[kept], atol=1e-6)
