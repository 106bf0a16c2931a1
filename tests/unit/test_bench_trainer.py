"""The arithmetic of the trainer's benchmark, and what it does with a program that fails."""

import importlib.util
import sys
from types import ModuleType

import pytest

from tests.trainer_runs import REPOSITORY


@pytest.fixture(scope="module")
def group() -> ModuleType:
    spec = importlib.util.spec_from_file_location("trainer_group", REPOSITORY / "tests" / "bench" / "trainer_group.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


def test_a_ratio_is_that_of_the_medians_with_the_extremes_of_neighbouring_steps(group):
    assert group.ratio("x", theirs=[2.0, 4.0, 10.0], ours=[1.0, 3.0, 4.0]) == {
        "x": 0.75,
        "x_low": 0.4,
        "x_high": 0.75,
    }


def test_programs_take_their_steps_in_turn(group):
    code = "from step_gate import Gate\ngate = Gate()\nfor step in range(9): gate.pass_through(step=step)"
    with group.running([sys.executable, "-c", code]) as one, group.running([sys.executable, "-c", code]) as other:
        steps = [one.finish_step(), other.finish_step(), one.take_step(), other.take_step(), one.take_step()]
    assert [facts["step"] for facts in steps] == [0, 0, 1, 1, 2]
    assert all(facts["cpu"] < 5 and facts["peak_gb"] > 0 for facts in steps)
    assert one.process.returncode == other.process.returncode == 0


def test_a_program_that_ends_leaves_its_figures_out_and_says_why(group, capsys):
    def measure() -> dict[str, float]:
        with group.running([sys.executable, "-c", "raise ValueError('no such model')"]) as program:
            return program.finish_step()

    assert group.attempt("peer", measure) == {}
    assert "trainer: peer not measured" in (said := capsys.readouterr().err)
    assert "ValueError: no such model" in said
