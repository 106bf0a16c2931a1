"""A program passes its tests: 1[every test passes], or passed / total. The tool sandbox runs and judges it.

The program is the last fenced block of Python in the part that `read` chooses; an answer without one is worth 0. A
program that crashes, loops, floods or answers wrongly fails the tests that see it. A sandbox that fails is another
matter: the call is made again, and then masks the rollout. Equal programs with equal tests are run once in a step.
"""

import ast
import secrets
import warnings
from dataclasses import dataclass, field
from typing import Any

from trainer.contract.endpoints import EndpointError, call
from trainer.contract.rewards.unit_tests import ROUTE, UnitTestsReward, write_request
from trainer.rewards.asking import AskingReward, Attempt
from trainer.rewards.base import Answer, Row, Score
from trainer.rewards.code_blocks import last_program
from trainer.rewards.reading import read_answer

LONGEST_PROGRAM = 200_000
"""Characters. A longer program is worth 0: the sandbox takes no more than a mebibyte, set-up and test with it."""


@dataclass(frozen=True)
class Program:
    """What one call of the sandbox is about."""

    code: str
    tests: str
    key: str = field(default_factory=lambda: secrets.token_hex(16), compare=False)
    """An attempt whose reply was lost joins or replays the first by it instead of running the program again."""


class UnitTests(AskingReward[Program]):
    config_class = UnitTestsReward
    config: UnitTestsReward
    late = "The sandbox had not answered when the {seconds:g} s for all programs were over."

    def missing(self, row: Row) -> str:
        tests = _read_tests(row.get(self.config.tests))
        if not tests.strip():
            return f"no `{self.config.tests}`"
        return _check_python(self.config.tests, tests)

    def notes(self) -> dict[str, str | int | float | bool]:
        """Which image and which limits judged: what the sandbox says of itself where it says so."""
        facts = _read_facts(self.config)
        return {"sandbox": self.config.sandbox.base_url, **facts}

    def prepare(self, answer: Answer) -> Program | Score:
        """What to run, or the score where there is nothing to run."""
        config = self.config
        if reason := self.missing(answer.row):
            return Score(None, f"The row has {reason}.")
        program = last_program(read_answer(answer, config), cut=answer.truncated)
        if program is None or len(program) > LONGEST_PROGRAM:
            return Score(0.0)
        setup = str(answer.row.get(config.setup) or "") if config.setup else ""
        return Program(f"{setup}\n{program}" if setup else program, _read_tests(answer.row[config.tests]))

    def ask(self, asked: Program, seconds: float) -> Attempt:
        return _judge(asked, self.config, seconds=seconds)


def _judge(program: Program, config: UnitTestsReward, *, seconds: float) -> Attempt:
    request = write_request(code=program.code, tests=program.tests, test_seconds=config.test_seconds)
    try:
        reply = call(config.sandbox, ROUTE, {**request, "idempotency_key": program.key}, seconds=seconds)
    except EndpointError as error:
        score = Score(None, f"The sandbox failed: {error}")
        return Attempt(score, again=error.again, refused=error.refused, wait_s=error.wait_s)
    return read_reply(reply, counts=config.counts)


def read_reply(reply: Any, *, counts: str) -> Attempt:
    """The score in a reply of the sandbox; a fault for everything that is no verdict."""
    result = reply.get("result") if isinstance(reply, dict) else None
    if not isinstance(result, dict):
        return Attempt(Score(None, "The sandbox replied with something that is no verdict."))
    detail = result.get("detail")
    detail = detail if isinstance(detail, dict) else {}
    said = str(detail.get("message") or result.get("text") or "")[:300]
    if result.get("status") == "infra_error":
        return Attempt(Score(None, f"The sandbox failed: {said}"), again=True)
    if result.get("status") == "rejected":
        if detail.get("fault") == "code":
            return Attempt(Score(0.0))
        refused = "the row's tests" if detail.get("fault") == "tests" else "the call"
        return Attempt(Score(None, f"The sandbox refuses {refused}: {said}"))
    passed, total = _read_count(detail, "passed"), _read_count(detail, "total")
    if result.get("status") != "ok" or not 0 <= passed <= total or not total:
        return Attempt(Score(None, "The sandbox replied with something that is no verdict."))
    return Attempt(Score(float(passed == total) if counts == "all" else passed / total))


def _read_count(detail: dict[str, Any], name: str) -> int:
    """A whole number; -1 where there is none."""
    value = detail.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else -1


def _read_tests(value: object) -> str:
    """One text; a list holds one assertion, or more, in each entry."""
    return "\n".join(map(str, value)) if isinstance(value, list | tuple) else str(value or "")


def _check_python(field: str, tests: str) -> str:
    """Why no sandbox could read the tests; what else they must be is the sandbox's to say."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(tests)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        return f"`{field}` that are not valid Python{f' (line {line})' if line else ''}"
    return ""


def _read_facts(config: UnitTestsReward) -> dict[str, str]:
    """Runtime and digests of the sandbox's code tools; none where it does not say."""
    try:
        parts = call(config.sandbox, "/readyz", seconds=10)["parts"]
        found = [part["facts"] for part in parts.values() if "image_digest" in part["facts"]]
    except (EndpointError, LookupError, TypeError, AttributeError):
        return {}
    wanted = ("runtime", "image_digest", "policy_digest")
    return {name: str(found[0][name]) for name in wanted if name in found[0]} if found else {}
