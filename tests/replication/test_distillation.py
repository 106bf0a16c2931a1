"""On-policy distillation after fine-tuning, against more fine-tuning on the same rows."""

import pytest

from tests.replication.distillation import CHOSEN, SEEDS, run_family
from tests.replication.intervals import paired_difference
from tests.replication.record import run_experiment
from tests.replication.runs import Scores
from tests.replication.tables import distillation_tables

pytestmark = [pytest.mark.replication, pytest.mark.trains, pytest.mark.timeout(7200)]


@pytest.fixture(scope="module")
def by_seed() -> dict[str, Scores]:
    found = run_experiment("distillation", run_family, SEEDS, CHOSEN)
    print("\n" + distillation_tables(found))
    return found


def test_distillation_repairs_what_rows_in_mixed_languages_spoil(by_seed: dict[str, Scores]):
    assert paired_difference(by_seed, "held", "mixed sft-opd", "mixed sft-longer").low > 0.3
    assert paired_difference(by_seed, "switched", "mixed sft-opd", "mixed sft-longer").high < -0.1
