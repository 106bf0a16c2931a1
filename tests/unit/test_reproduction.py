"""Where two curves first tell different things."""

import math

import numpy as np

from chanote.runs.reproduction import Deviation, find_deviation


def curve(*points: tuple[int, float]):
    return np.array([step for step, _ in points], dtype="<i8"), np.array([value for _, value in points], dtype="<f8")


def test_equal_curves_do_not_deviate_and_nan_equals_nan():
    told = curve((1, 0.5), (2, math.nan), (2, 0.25))
    assert find_deviation("k", told, told) is None


def test_the_last_bit_counts():
    nearly = math.nextafter(0.5, 1)
    found = find_deviation("k", curve((1, 1.0), (2, 0.5), (3, 9.0)), curve((1, 1.0), (2, nearly), (3, 8.0)))
    assert found == Deviation("k", 2, 0.5, nearly)


def test_a_number_differs_from_nan():
    found = find_deviation("k", curve((4, math.nan)), curve((4, 1.0)))
    assert found is not None
    assert (found.step, found.now) == (4, 1.0)


def test_a_step_that_one_of_them_does_not_tell_is_a_deviation_of_that_step():
    whole = curve((1, 1.0), (2, 2.0), (3, 3.0))
    assert find_deviation("k", whole, curve((1, 1.0), (3, 3.0))) == Deviation("k", 2, 2.0, None)
    assert find_deviation("k", curve((1, 1.0), (3, 3.0)), whole) == Deviation("k", 2, None, 2.0)
    assert find_deviation("k", whole, curve((1, 1.0), (2, 2.0))) == Deviation("k", 3, 3.0, None)
    assert find_deviation("k", None, whole) == Deviation("k", 1, None, 1.0)
