"""Closed book: what of InK-GRPO's gain is left when its reward, its text, or the truth of its text is taken away."""

import pytest

from tests.replication.closed_book import CHOSEN, CONTROL_ARMS, SEEDS, run_family
from tests.replication.intervals import paired_difference
from tests.replication.record import run_experiment
from tests.replication.runs import Scores
from tests.replication.tables import control_tables

pytestmark = [pytest.mark.replication, pytest.mark.trains, pytest.mark.timeout(7200)]


@pytest.fixture(scope="module")
def by_seed() -> dict[str, Scores]:
    found = run_experiment("closed-book-controls", lambda seed: run_family(seed, CONTROL_ARMS), SEEDS, CHOSEN)
    print("\n" + control_tables(found))
    return found


def test_equal_compute_does_not_make_up_for_the_text(by_seed: dict[str, Scores]):
    assert paired_difference(by_seed, "held", "ink", "grpo-longer").low > 0.3


def test_a_text_with_shuffled_facts_teaches_none(by_seed: dict[str, Scores]):
    assert max(scores["ink-shuffled"]["held"] for scores in by_seed.values()) < 0.05


def test_text_without_reward_loses_the_form_of_answers(by_seed: dict[str, Scores]):
    """The same steps on the same text, with no rollouts between them."""
    assert paired_difference(by_seed, "held", "ink", "text").low > 0.3
