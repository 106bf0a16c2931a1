"""Random numbers by counter: the draw of a step depends on the request's seed and the step, on nothing else."""

import numpy as np
from numpy.typing import NDArray

_MASK = (1 << 64) - 1
_STEP, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def splitmix64(value: int) -> int:
    """Scramble 64 bits (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators")."""
    value = (value + _STEP) & _MASK
    value = ((value ^ (value >> 30)) * _FIRST) & _MASK
    value = ((value ^ (value >> 27)) * _SECOND) & _MASK
    return value ^ (value >> 31)


def uniform(seed: int, step: int) -> float:
    """The draw in [0, 1) for one step, with 53 random bits. Scrambling the seed first keeps neighbours apart."""
    return (splitmix64(splitmix64(seed & _MASK) ^ step) >> 11) * 2.0**-53


def scramble_seeds(seeds: list[int]) -> NDArray[np.uint64]:
    """What `uniforms` takes for these seeds."""
    return np.array([splitmix64(seed & _MASK) for seed in seeds], dtype=np.uint64)


def uniforms(scrambled: NDArray[np.uint64], steps: NDArray[np.uint64]) -> NDArray[np.float64]:
    """`uniform` of many seeds and steps at once; the two are broadcast."""
    value = (scrambled ^ steps) + np.uint64(_STEP)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(_FIRST)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(_SECOND)
    value ^= value >> np.uint64(31)
    return (value >> np.uint64(11)).astype(np.float64) * 2.0**-53


def seed_for(seed: int, name: str) -> int:
    """A seed for one named item, the same wherever the item stands in the data."""
    mixed = splitmix64(seed & _MASK)
    for byte in name.encode():
        mixed = splitmix64(mixed ^ byte)
    return mixed
