"""Random numbers by counter: the draw of a step depends on the request's seed and the step, on nothing else."""

_MASK = (1 << 64) - 1


def splitmix64(value: int) -> int:
    """Scramble 64 bits (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators")."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def uniform(seed: int, step: int) -> float:
    """The draw in [0, 1) for one step, with 53 random bits. Scrambling the seed first keeps neighbours apart."""
    return (splitmix64(splitmix64(seed & _MASK) ^ step) >> 11) * 2.0**-53


def seed_for(seed: int, name: str) -> int:
    """A seed for one named item, the same wherever the item stands in the data."""
    mixed = splitmix64(seed & _MASK)
    for byte in name.encode():
        mixed = splitmix64(mixed ^ byte)
    return mixed
