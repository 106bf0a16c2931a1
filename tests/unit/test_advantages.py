"""What a group teaches about each of its rollouts."""

import pytest

from trainer.advantages import group_advantages


def test_advantages_are_distances_from_the_mean_in_deviations():
    # Mean 2, deviations −2 −1 0 3, variance 14/3 over G − 1.
    found = group_advantages([0.0, 1.0, 2.0, 5.0], divide_by_std=True, epsilon=1e-6)
    std = (14 / 3) ** 0.5 + 1e-6
    assert found == pytest.approx([-2 / std, -1 / std, 0.0, 3 / std])


def test_without_the_deviation_they_are_plain_distances():
    assert group_advantages([0.0, 1.0, 2.0, 5.0], divide_by_std=False, epsilon=1e-6) == [-2.0, -1.0, 0.0, 3.0]


def test_identical_rewards_teach_nothing_whatever_rounding_says():
    assert sum([0.1] * 3) / 3 != 0.1
    assert group_advantages([0.1] * 3, divide_by_std=True, epsilon=1e-12) == [0.0, 0.0, 0.0]


def test_rewards_that_differ_by_rounding_are_identical():
    assert 0.1 + 0.2 != 0.3
    assert group_advantages([0.1 + 0.2, 0.3, 0.3], divide_by_std=True, epsilon=1e-6) == [0.0, 0.0, 0.0]
    assert group_advantages([1e-6, 0.0], divide_by_std=False, epsilon=1e-6) == [5e-7, -5e-7]


def test_a_failed_reward_counts_nowhere():
    found = group_advantages([1.0, None, 3.0], divide_by_std=False, epsilon=1e-6)
    assert found == [-1.0, None, 1.0]


def test_one_reward_alone_teaches_nothing():
    assert group_advantages([None, 4.0], divide_by_std=True, epsilon=1e-6) == [None, 0.0]
    assert group_advantages([None, None], divide_by_std=True, epsilon=1e-6) == [None, None]
