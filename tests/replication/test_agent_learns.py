"""A policy with tools learns by reward to search and to answer from what it found, on laws nobody asked it about."""

import pytest

from tests.replication.agent import SEEDS, run_families
from tests.replication.intervals import interval_of, paired_difference
from tests.replication.runs import Scores
from tests.replication.tables import agent_tables

pytestmark = [pytest.mark.replication, pytest.mark.trains, pytest.mark.timeout(14_400)]


@pytest.fixture(scope="module")
def by_seed() -> dict[str, Scores]:
    found = run_families(SEEDS)
    print("\n" + agent_tables(found))
    return found


def test_success_on_held_out_laws_rises_by_thirty_points(by_seed: dict[str, Scores]):
    gain = paired_difference(by_seed, "success", "grpo", "start")
    assert gain.mean >= 0.30
    assert gain.low > 0.10


def test_it_ends_by_calling_in_a_form_that_can_be_made(by_seed: dict[str, Scores]):
    assert interval_of([scores["grpo"]["called"] for scores in by_seed.values()]).low > 0.8


def test_a_right_answer_was_read(by_seed: dict[str, Scores]):
    """Hardly any success without the right section found: values cannot be guessed."""
    for scores in by_seed.values():
        for arm in ("start", "grpo", "ink"):
            assert scores[arm]["success"] <= scores[arm]["found"] + 0.03


def test_from_the_shipped_base_to_the_end_takes_less_than_fifteen_minutes(by_seed: dict[str, Scores]):
    """CPU-seconds of the trainer on one thread, fine-tuning included; a busy machine makes none of them."""
    assert max(scores["start"]["cpu_s"] + scores["grpo"]["cpu_s"] for scores in by_seed.values()) < 900
