"""f_α against likelihood, as the base knows more or less of what it is fine-tuned on."""

import pytest

from tests.replication.intervals import paired_difference
from tests.replication.objectives import CHOSEN, SEEDS, run_family
from tests.replication.record import run_experiment
from tests.replication.runs import Scores
from tests.replication.tables import objectives_tables

pytestmark = [pytest.mark.replication, pytest.mark.trains, pytest.mark.timeout(7200)]


@pytest.fixture(scope="module")
def by_seed() -> dict[str, Scores]:
    found = run_experiment("objectives", run_family, SEEDS, CHOSEN)
    print("\n" + objectives_tables(found))
    return found


def test_f_alpha_wins_where_the_base_knows(by_seed: dict[str, Scores]):
    assert paired_difference(by_seed, "right", "known f-alpha-1", "known nll").low > 0


def test_likelihood_wins_where_the_base_knows_nothing(by_seed: dict[str, Scores]):
    assert paired_difference(by_seed, "right", "unknown f-alpha-1", "unknown nll").high < 0
