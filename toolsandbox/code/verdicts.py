"""Verdicts of tests, given outside the sandbox: the program answers plain values, and only here are they compared.

A test is an assertion whose expected side is a literal. The other side is evaluated in the sandbox, in a process of
its own per test; the expected side never leaves this process. A program may forge what it answers, but it does not
know what would be right: early exits, patched equality and forged report lines win nothing.
"""

import ast
import math
from dataclasses import dataclass
from typing import Any

MOST_TESTS = 200
MOST_CHARACTERS = 1 << 17
"""They are taken apart in the service itself, which meanwhile answers nobody: eight megabytes took a minute."""

FORM = (
    "write each test as one line `assert f(1, 2) == 3`: a call on the left, `==`, `is True`, `is False` or `is None` "
    "and a literal on the right, `assert abs(f(1) - 0.5) < 1e-6`, or `assert f(1)` for exactly True; "
    "set-up belongs into the code"
)


class TestsRefused(Exception):
    """The tests are not in the form that can be judged from outside."""

    __test__ = False


@dataclass(frozen=True)
class Case:
    text: str
    expression: str
    expected: Any
    exact: bool = False
    """Compared by identity: 1 is not True here."""
    negated: bool = False
    tolerance: float | None = None
    """Of a number, where the test asks for nearness."""


def parse_tests(tests: str) -> list[Case]:
    """The assertions of a text, at top level or in functions without arguments. Raises `TestsRefused`."""
    if len(tests) > MOST_CHARACTERS:
        raise TestsRefused(f"tests: {len(tests)} characters, at most {MOST_CHARACTERS}; {FORM}")
    try:
        tree = ast.parse(tests)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as wrong:
        line = getattr(wrong, "lineno", None)
        raise TestsRefused(f"tests{f', line {line}' if line else ''}: not valid Python; {FORM}") from None
    cases: list[Case] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.args.args and not node.decorator_list:
            cases += [_read_case(inner) for inner in node.body]
        else:
            cases.append(_read_case(node))
    if not cases:
        raise TestsRefused(f"tests: there is no assertion; {FORM}")
    if len(cases) > MOST_TESTS:
        raise TestsRefused(f"tests: {len(cases)} assertions, at most {MOST_TESTS} are judged in one call")
    return cases


def _read_case(node: ast.stmt) -> Case:
    where = f"tests, line {node.lineno}"
    if not isinstance(node, ast.Assert):
        raise TestsRefused(f"{where}: not an assertion; {FORM}")
    test, text = node.test, ast.unparse(node.test)
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return Case(text, ast.unparse(test.operand), False, exact=True)
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        operator, left, right = test.ops[0], test.left, test.comparators[0]
        if isinstance(operator, ast.Eq | ast.NotEq):
            for asked, literal in ((left, right), (right, left)):
                try:
                    expected = _to_plain(ast.literal_eval(literal))
                except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                    continue
                return Case(text, ast.unparse(asked), expected, negated=isinstance(operator, ast.NotEq))
            raise TestsRefused(f"{where}: neither side of the comparison is a literal; {FORM}")
        if isinstance(operator, ast.Is) and isinstance(right, ast.Constant) and right.value in (True, False, None):
            return Case(text, ast.unparse(left), right.value, exact=True)
        if isinstance(operator, ast.Lt | ast.LtE) and (near := _read_nearness(left, right)):
            return Case(text, *near)
    if isinstance(test, ast.Call):
        return Case(text, text, True, exact=True)
    raise TestsRefused(f"{where}: it would show the expected answer to the program; {FORM}")


def _read_nearness(left: ast.expr, right: ast.expr) -> tuple[str, Any, bool, bool, float] | None:
    """`abs(f(x) - 1.5) < 1e-6` as (what to evaluate, expected, exact, negated, tolerance)."""
    if not (isinstance(left, ast.Call) and isinstance(left.func, ast.Name) and left.func.id == "abs" and left.args):
        return None
    inside = left.args[0]
    if not (isinstance(inside, ast.BinOp) and isinstance(inside.op, ast.Sub)):
        return None
    try:
        tolerance, expected = ast.literal_eval(right), ast.literal_eval(inside.right)
    except (ValueError, TypeError, SyntaxError):
        return None
    if not all(isinstance(number, int | float) for number in (tolerance, expected)):
        return None
    return ast.unparse(inside.left), expected, False, False, float(tolerance)


def _to_plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_to_plain(item) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _to_plain(item) for key, item in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError("not plain")


def values_agree(answered: Any, expected: Any) -> bool:
    """Equality of plain JSON values. True is not 1; 2 equals 2.0; tuples and lists are the same in JSON."""
    if isinstance(answered, bool) or isinstance(expected, bool):
        return answered is expected
    if isinstance(answered, list) and isinstance(expected, list):
        return len(answered) == len(expected) and all(map(values_agree, answered, expected))
    if isinstance(answered, dict) and isinstance(expected, dict):
        return answered.keys() == expected.keys() and all(
            values_agree(answered[key], expected[key]) for key in answered
        )
    if isinstance(answered, int | float) and isinstance(expected, int | float):
        if isinstance(answered, float) and not math.isfinite(answered):
            return False
        return answered == expected
    return type(answered) is type(expected) and bool(answered == expected)


def judge(case: Case, answered: Any) -> bool:
    if case.exact:
        return answered is case.expected
    if case.tolerance is not None:
        is_number = isinstance(answered, int | float) and not isinstance(answered, bool)
        try:
            return is_number and abs(answered - case.expected) <= case.tolerance
        except OverflowError:  # an integer past every float
            return False
    return values_agree(answered, case.expected) is not case.negated
