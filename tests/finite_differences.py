"""Slopes by central differences, for functions whose gradient can be asked for only once."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def assert_slopes(function: Callable[..., Tensor], inputs: Sequence[Tensor], *, step: float = 1e-6) -> None:
    """The gradient of a scalar function equals (f(x + h) − f(x − h)) / 2h at every entry of every fp64 input."""
    assert all(tensor.dtype == torch.float64 for tensor in inputs)
    found = torch.autograd.grad(function(*inputs), inputs)
    for tensor, slopes in zip(inputs, found, strict=True):
        with torch.no_grad():
            flat = tensor.view(-1)
            for place, slope in enumerate(slopes.flatten().tolist()):
                value = flat[place].item()
                flat[place] = value + step
                above = function(*inputs).item()
                flat[place] = value - step
                below = function(*inputs).item()
                flat[place] = value
                expected = (above - below) / (2 * step)
                assert abs(slope - expected) < 1e-6 * max(1.0, abs(expected)), (place, slope, expected)
