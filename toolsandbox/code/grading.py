"""Programs judged by assertions: the left side is evaluated in the sandbox, the verdict is given here."""

import time
from collections.abc import Awaitable, Callable

from toolsandbox.code.answers import read_told
from toolsandbox.code.calls import Stamp, explain_end, find_refusal
from toolsandbox.code.container import Call, Container, ContainerDied, SandboxFailed, name_outcome
from toolsandbox.code.settings import CallLimits, CodeSettings
from toolsandbox.code.verdicts import Case, TestsRefused, judge, parse_tests
from toolsandbox.contract import CaseVerdict, CodeAnswer, TestsAnswer, ValueAnswer

MOST_CONTAINERS_LOST = 5
"""A program that ends its container this often gets no further one: its other tests end as the last did."""


class Grader:
    """`take` and `discard` get and give up containers; `take` raises `PoolFull` and `SandboxFailed`."""

    def __init__(
        self,
        settings: CodeSettings,
        *,
        take: Callable[[str], Awaitable[Container]],
        discard: Callable[[Container], None],
    ) -> None:
        self._settings = settings
        self._take = take
        self._discard = discard

    async def evaluate(
        self, code: str, expressions: list[str], *, tenant: str, limits: CallLimits, longest_s: float
    ) -> list[ValueAnswer]:
        """Values of expressions after a program, each in a process of its own. Raises `PoolFull`, `SandboxFailed`.

        All of them together run for `longest_s` seconds; those that come after it are timeouts.
        """
        answers, _ = await self._evaluate(code, expressions, tenant=tenant, limits=limits, longest_s=longest_s)
        return answers

    async def _evaluate(
        self, code: str, expressions: list[str], *, tenant: str, limits: CallLimits, longest_s: float
    ) -> tuple[list[ValueAnswer], float]:
        """The values, and how many seconds went by while waiting for a container."""
        place: Container | None = None
        answers: list[ValueAnswer] = []
        lost, spent_s, waited_s = 0, 0.0, 0.0
        try:
            for expression in expressions:
                call = Call("value", code, limits, expression=expression)
                if refusal := find_refusal(self._settings, call):
                    answers.append(ValueAnswer(status="rejected", detail=refusal))
                    continue
                if spent_s >= longest_s:
                    detail = f"not run: the tests before it took {longest_s:g} seconds, the most that they may together"
                    answers.append(ValueAnswer(status="timeout", detail=detail))
                    continue
                if lost >= MOST_CONTAINERS_LOST:
                    detail = f"not run: the program ended its container {lost} times"
                    answers.append(ValueAnswer(status=answers[-1].status, detail=detail))
                    continue
                asked = time.monotonic()
                place = place or await self._take(tenant)
                began = time.monotonic()
                waited_s += began - asked
                answers.append(await evaluate_one(place, call))
                spent_s += time.monotonic() - began
                if not place.alive:
                    # A killed container is replaced: the next expression did nothing wrong.
                    self._discard(place)
                    place, lost = None, lost + 1
        finally:
            if place is not None:
                self._discard(place)
        return answers, waited_s

    async def run_tests(self, code: str, tests: str, *, tenant: str, limits: CallLimits) -> TestsAnswer:
        """Judge a program by assertions whose expected side never enters the sandbox. Raises `PoolFull`."""
        try:
            cases = parse_tests(tests)
        except TestsRefused as refused:
            return TestsAnswer(status="rejected", fault="tests", message=str(refused))
        began = time.monotonic()
        expressions = [case.expression for case in cases]
        try:
            answers, waited_s = await self._evaluate(
                code, expressions, tenant=tenant, limits=limits, longest_s=self._settings.most_wall_s
            )
        except SandboxFailed as failed:
            return TestsAnswer(status="infra_error", message=str(failed), total=len(cases))
        ran_s = time.monotonic() - began - waited_s
        spent = {"wall_ms": round(ran_s * 1e3, 3), "queue_ms": round(waited_s * 1e3, 3)}
        return judge_all(cases, answers).model_copy(update=spent)


def judge_all(cases: list[Case], answers: list[ValueAnswer]) -> TestsAnswer:
    """One answer per case. A sandbox that failed for one of them has judged none."""
    verdicts = []
    for case, answer in zip(cases, answers, strict=True):
        if answer.status in ("infra_error", "killed"):
            return TestsAnswer(status="infra_error", message=answer.detail, total=len(cases))
        if answer.status == "rejected":
            return TestsAnswer(status="rejected", fault="code", message=answer.detail, total=len(cases))
        passed = answer.has_value and answer.status == "ok" and judge(case, answer.value)
        detail = answer.detail or ("" if passed else "another value")
        verdicts.append(CaseVerdict(test=case.text, passed=passed, status=answer.status, detail=detail))
    passed_count = sum(verdict.passed for verdict in verdicts)
    return TestsAnswer(status="ok", passed=passed_count, total=len(verdicts), cases=verdicts)


async def evaluate_one(container: Container, call: Call) -> ValueAnswer:
    try:
        outcome = await container.run(call)
    except ContainerDied as died:
        answer = await explain_end(container, died, Stamp())
        return ValueAnswer(status=answer.status, detail=answer.message)
    return read_value(name_outcome(outcome, call.limits, image_digest="", policy_digest=""), bytes(outcome.value))


def read_value(named: CodeAnswer, raw: bytes) -> ValueAnswer:
    """The value that a call answered, if it ended well and sent one."""
    last = named.stderr.strip().splitlines()[-1:] or [""]
    if named.status != "ok":
        return ValueAnswer(status=named.status, detail=last[0][:500], wall_ms=named.wall_ms)
    told = read_told(raw)
    if told is None:
        return ValueAnswer(status="error", detail="the program ended without an answer", wall_ms=named.wall_ms)
    if "value" not in told:
        detail = str(told.get("refused", "no value"))[:500]
        return ValueAnswer(status="error", detail=detail, wall_ms=named.wall_ms)
    return ValueAnswer(status="ok", value=told["value"], has_value=True, wall_ms=named.wall_ms)
