"""Which assertions are judged from outside, and how plain values are compared."""

import pytest

from toolsandbox.code.verdicts import TestsRefused, judge, parse_tests, values_agree


def case_of(test: str):
    (case,) = parse_tests(test)
    return case


def test_the_expected_side_never_is_in_what_the_program_sees():
    for test in ("assert f(1) == 12345", "assert 12345 == f(1)", "assert abs(f(1) - 12345) < 0.5"):
        case = case_of(test)
        assert (case.expression, case.expected) == ("f(1)", 12345)


@pytest.mark.parametrize(
    ("test", "answered", "passes"),
    [
        ("assert f() == 1", 1, True),
        ("assert f() == 1", True, False),
        ("assert f() == True", 1, False),
        ("assert f() == 2", 2.0, True),
        ("assert f() == (1, [2])", [1, [2]], True),
        ("assert f() == {'a': 1}", {"a": 2}, False),
        ("assert f() == '1'", 1, False),
        ("assert f() != 3", 4, True),
        ("assert f() != 3", 3, False),
        ("assert f()", True, True),
        ("assert f()", 1, False),
        ("assert f()", [1], False),
        ("assert not f()", False, True),
        ("assert not f()", 0, False),
        ("assert f() is None", None, True),
        ("assert f() is None", False, False),
        ("assert abs(f() - 0.5) < 1e-3", 0.5001, True),
        ("assert abs(f() - 0.5) < 1e-3", 0.6, False),
        ("assert abs(f() - 1) < 0.5", True, False),
    ],
)
def test_a_value_passes_only_by_itself(test, answered, passes):
    assert judge(case_of(test), answered) is passes


def test_a_number_that_is_not_finite_agrees_with_nothing():
    assert not values_agree(float("nan"), float("nan"))
    assert not values_agree(float("inf"), 1)


def test_assertions_are_also_taken_out_of_test_functions():
    cases = parse_tests("def test_a():\n    assert f(1) == 2\n    assert g() is True\nassert h() == 3")
    assert [case.expression for case in cases] == ["f(1)", "g()", "h()"]


@pytest.mark.parametrize(
    ("tests", "named"),
    [
        ("", "there is no assertion"),
        ("assert f(1 == 2", "line 1"),
        ("x = 1", "line 1: not an assertion"),
        ("assert f(1) == g(1)", "line 1: neither side"),
        ("assert f(1) == 1\nassert f(2) > 3", "line 2: it would show the expected answer"),
        ("assert f(1) == 2 and f(2) == 3", "line 1: it would show"),
        ("\n".join(["assert f() == 1"] * 201), "at most 200"),
        ("assert " + "(" * 90_000, "not valid Python"),
        ("assert f() == 1\0", "not valid Python"),
    ],
)
def test_tests_that_cannot_be_judged_from_outside_are_refused_with_the_way_out(tests, named):
    with pytest.raises(TestsRefused, match=r"assert f|at most") as refused:
        parse_tests(tests)
    assert named in str(refused.value)
