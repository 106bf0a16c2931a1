"""Memory that a loss and its backward pass add over hidden states and gradients, in GB, at a vocabulary of 151,936.

python loss_memory.py {logprobs,divergence} TOKENS
"""

import sys
from pathlib import Path

import torch

from trainer.losses import divergence, token_logprobs

VOCABULARY, UNITS = 151_936, 1024


def read_status(field: str) -> float:
    """A size of this process in GB: `VmRSS` now, `VmHWM` at its highest."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field)]
    return int(line.split()[1]) * 1024 / 1e9


def main(name: str, tokens: int) -> None:
    hidden = torch.randn(tokens, UNITS).requires_grad_()
    weight = torch.empty(VOCABULARY, UNITS).normal_(std=0.02).requires_grad_()
    teacher_hidden = torch.randn(tokens, UNITS)
    labels = torch.randint(VOCABULARY, (tokens,))
    before = read_status("VmRSS")
    if read_status("VmHWM") > before + 0.01:
        raise SystemExit("the highest memory lies before the loss; nothing can be measured")
    if name == "logprobs":
        loss = -token_logprobs(hidden, weight, labels).mean()
    else:
        loss = divergence(hidden, weight, teacher_hidden, weight, beta=0.5).total / tokens
    loss.backward()
    assert hidden.grad is not None
    assert weight.grad is not None
    gradients = sum(grad.numel() * grad.element_size() for grad in (hidden.grad, weight.grad)) / 1e9
    print(read_status("VmHWM") - before - gradients)


main(sys.argv[1], int(sys.argv[2]))
