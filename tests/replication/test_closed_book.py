"""Closed book: GRPO alone stays where it started, InK-GRPO answers what no question ever asked."""

import pytest

from tests.replication.closed_book import CHOSEN, MAIN_ARMS, SEEDS, run_family
from tests.replication.intervals import interval_of, paired_difference
from tests.replication.record import run_experiment
from tests.replication.runs import Scores
from tests.replication.tables import main_tables

pytestmark = [pytest.mark.replication, pytest.mark.trains, pytest.mark.timeout(7200)]


@pytest.fixture(scope="module")
def by_seed() -> dict[str, Scores]:
    found = run_experiment("closed-book", lambda seed: run_family(seed, MAIN_ARMS), SEEDS, CHOSEN)
    print("\n" + main_tables(found))
    return found


def test_grpo_alone_stays_near_its_start(by_seed: dict[str, Scores]):
    """No seed gets a twentieth of the held laws right, by rewards alone."""
    assert max(scores["grpo"]["held"] for scores in by_seed.values()) < 0.05


def test_ink_grpo_rises_above_grpo(by_seed: dict[str, Scores]):
    assert paired_difference(by_seed, "held", "ink", "grpo").low > 0.3


def test_the_text_is_known_where_it_was_read(by_seed: dict[str, Scores]):
    """By multiple choice, where the form of an answer does not matter."""
    assert interval_of([scores["ink"]["held-choices"] for scores in by_seed.values()]).low > 0.6
