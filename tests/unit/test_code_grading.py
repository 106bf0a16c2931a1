"""What a program that misbehaves costs the others while its tests are judged: without an engine."""

import pytest

from toolsandbox.code import grading
from toolsandbox.code.answers import ValueAnswer
from toolsandbox.code.grading import MOST_CONTAINERS_LOST, Grader
from toolsandbox.code.settings import CallLimits, CodeSettings

TESTS = "\n".join(f"assert f({number}) == 1" for number in range(30))
LIMITS = CallLimits()


class Place:
    """Stands for a container."""

    def __init__(self):
        self.alive = True


@pytest.fixture
def taken():
    return []


@pytest.fixture
def grader(taken):
    async def take(tenant):
        taken.append(Place())
        return taken[-1]

    def discard(place):
        place.gone = True

    return Grader(CodeSettings(most_wall_s=10), take=take, discard=discard)


async def test_a_program_that_ends_its_container_again_and_again_gets_no_further_one(grader, taken, monkeypatch):
    async def evaluate_one(place, call):
        place.alive = False
        return ValueAnswer(status="oom")

    monkeypatch.setattr(grading, "evaluate_one", evaluate_one)
    answer = await grader.run_tests("", TESTS, tenant="t", limits=LIMITS)
    assert len(taken) == MOST_CONTAINERS_LOST
    assert all(place.gone for place in taken)
    assert (answer.status, answer.passed, answer.total) == ("ok", 0, 30)
    assert {case.status for case in answer.cases} == {"oom"}
    assert answer.cases[-1].detail == "not run: the program ended its container 5 times"


async def test_all_tests_together_have_one_bound(grader, taken, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(grading.time, "monotonic", lambda: clock[0])

    async def evaluate_one(place, call):
        clock[0] += 4.0
        return ValueAnswer(status="ok", has_value=True, value=1)

    monkeypatch.setattr(grading, "evaluate_one", evaluate_one)
    answer = await grader.run_tests("", TESTS, tenant="t", limits=LIMITS)
    assert [case.passed for case in answer.cases] == [True] * 3 + [False] * 27
    assert {case.status for case in answer.cases[3:]} == {"timeout"}
    assert answer.cases[3].detail.startswith("not run: the tests before it took 10 seconds")
    assert (len(taken), taken[0].gone) == (1, True)


async def test_one_container_that_fails_for_us_judges_nothing(grader, monkeypatch):
    answers = iter(
        [ValueAnswer(status="ok", has_value=True, value=1), ValueAnswer(status="infra_error", detail="lost")]
    )

    async def evaluate_one(place, call):
        return next(answers, ValueAnswer(status="ok", has_value=True, value=1))

    monkeypatch.setattr(grading, "evaluate_one", evaluate_one)
    answer = await grader.run_tests("", TESTS, tenant="t", limits=LIMITS)
    assert (answer.status, answer.passed, answer.message, answer.cases) == ("infra_error", 0, "lost", [])
