"""Written verifiers: each is used only after it accepted known good answers and refused known bad ones.

Verdicts are given here, on plain JSON values, and strictly: True is a pass, False is a fail, and whatever else a
function answers is no verdict at all.
"""

import hashlib
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Sequence

from toolsandbox.code.batches import FunctionCall
from toolsandbox.contract import (
    ValueAnswer,
    Verifier,
    VerifierCall,
    VerifierReport,
    VerifierVerdict,
    VerifyReply,
    VerifyRequest,
)

ROUNDS = 2
"""Every example is asked this often, in a process of its own: a verifier that tosses a coin is found out sooner."""
CHUNK = 32
"""Calls between two looks at the clock."""
MOST_TIMEOUTS = 3
"""After so many, a function's other calls of the batch are not run."""
MOST_REMEMBERED = 20_000

Batch = Callable[[list[FunctionCall]], Awaitable[list[ValueAnswer]]]


class VerifierGate:
    """Remembers what it found out: the same source with the same examples is asked once."""

    def __init__(self, *, longest_s: float) -> None:
        self._longest_s = longest_s
        self._known: OrderedDict[str, VerifierReport] = OrderedDict()

    async def judge(self, request: VerifyRequest, run: Batch) -> VerifyReply:
        """Admit the verifiers, then ask those that were admitted. `run` runs calls in one container of their own."""
        began = time.monotonic()
        reports = {verifier.name: report for verifier, report in await self._admit_all(request, run)}
        by_name = {verifier.name: verifier for verifier in request.verifiers}
        asked = [call for call in request.calls if reports[call.verifier].admitted]
        answers = iter(await self._run_bounded(request, by_name, asked, run))
        verdicts = [
            _give_verdict(call.verifier, next(answers)) if report.admitted else _withhold_verdict(report)
            for call in request.calls
            for report in [reports[call.verifier]]
        ]
        failed = any(report.admitted is None for report in reports.values())
        failed = failed or any(verdict.status == "infra_error" for verdict in verdicts)
        return VerifyReply(
            status="infra_error" if failed else "ok",
            retryable=failed,
            verifiers=[reports[verifier.name] for verifier in request.verifiers],
            verdicts=verdicts,
            wall_ms=round((time.monotonic() - began) * 1e3, 3),
        )

    async def _admit_all(self, request: VerifyRequest, run: Batch) -> list[tuple[Verifier, VerifierReport]]:
        digests = {verifier.name: _digest(verifier, request.timeout_s) for verifier in request.verifiers}
        unknown = [verifier for verifier in request.verifiers if digests[verifier.name] not in self._known]
        fresh: dict[str, VerifierReport] = {}
        for at in range(0, len(unknown), CHUNK):
            asked = unknown[at : at + CHUNK]
            calls = [call for verifier in asked for call in _list_examples(verifier, request.timeout_s)]
            answers = await run(calls)
            for verifier in asked:
                count = ROUNDS * (len(verifier.good) + len(verifier.bad))
                fresh[verifier.name] = report = report_on(verifier, answers[:count])
                answers = answers[count:]
                if report.admitted is not None:
                    self._remember(digests[verifier.name], report)
        return [
            (verifier, fresh.get(verifier.name) or self._recall(digests[verifier.name], verifier.name))
            for verifier in request.verifiers
        ]

    def _remember(self, digest: str, report: VerifierReport) -> None:
        self._known[digest] = report
        while len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)

    def _recall(self, digest: str, name: str) -> VerifierReport:
        self._known.move_to_end(digest)
        return self._known[digest].model_copy(update={"name": name})

    async def _run_bounded(
        self, request: VerifyRequest, by_name: dict[str, Verifier], asked: Sequence[VerifierCall], run: Batch
    ) -> list[ValueAnswer]:
        """Answers in order. Past the clock, and after a function's third timeout, calls are timeouts without a run."""
        deadline = time.monotonic() + self._longest_s
        timeouts: Counter[str] = Counter()
        answers: list[ValueAnswer] = []
        for at in range(0, len(asked), CHUNK):
            chunk = asked[at : at + CHUNK]
            late = time.monotonic() > deadline
            ready = [call for call in chunk if not late and timeouts[call.verifier] < MOST_TIMEOUTS]
            values = [_write_call(by_name[call.verifier], call.arguments, request.timeout_s) for call in ready]
            given = dict(zip(map(id, ready), await run(values) if values else [], strict=True))
            reason = "the batch took too long" if late else f"the function ran out of time {MOST_TIMEOUTS} times"
            for call in chunk:
                answer = given.get(id(call)) or ValueAnswer(status="timeout", detail=f"not run: {reason}")
                timeouts[call.verifier] += answer.status == "timeout"
                answers.append(answer)
        return answers


def report_on(verifier: Verifier, answers: Sequence[ValueAnswer]) -> VerifierReport:
    """Whether it may be used, from its answers to the examples of every round, good before bad in each."""
    if failed := next((answer for answer in answers if answer.status == "infra_error"), None):
        return VerifierReport(name=verifier.name, admitted=None, reason=failed.detail)
    for place, answer in enumerate(answers):
        number = place % (len(verifier.good) + len(verifier.bad))
        wanted = number < len(verifier.good)
        if answer.is_true if wanted else answer.is_false:
            continue
        which = f"good[{number}]" if wanted else f"bad[{number - len(verifier.good)}]"
        return VerifierReport(name=verifier.name, admitted=False, reason=f"{which}: {_tell(answer)}, not {wanted}")
    return VerifierReport(name=verifier.name, admitted=True)


def _tell(answer: ValueAnswer) -> str:
    if answer.has_value:
        return f"it answered {repr(answer.value)[:100]}"
    return f"it ended with {answer.status}{': ' + answer.detail[:200] if answer.detail else ''}"


def _give_verdict(name: str, answer: ValueAnswer) -> VerifierVerdict:
    if answer.is_true or answer.is_false:
        return VerifierVerdict(verifier=name, status="ok", passed=answer.is_true)
    status = "error" if answer.status == "ok" else answer.status
    detail = f"{_tell(answer)}, neither True nor False" if answer.has_value else answer.detail
    return VerifierVerdict(verifier=name, status=status, passed=None, detail=detail)


def _withhold_verdict(report: VerifierReport) -> VerifierVerdict:
    status = "infra_error" if report.admitted is None else "rejected"
    detail = f"the verifier was not admitted: {report.reason}"
    return VerifierVerdict.model_validate({"verifier": report.name, "status": status, "passed": None, "detail": detail})


def _list_examples(verifier: Verifier, timeout_s: float) -> list[FunctionCall]:
    return [
        _write_call(verifier, example, timeout_s) for _ in range(ROUNDS) for example in (*verifier.good, *verifier.bad)
    ]


def _write_call(verifier: Verifier, arguments: list[object], timeout_s: float) -> FunctionCall:
    return FunctionCall(
        source=verifier.source, function=verifier.function, arguments=arguments, wall_s=timeout_s, cpu_s=timeout_s
    )


def _digest(verifier: Verifier, timeout_s: float) -> str:
    content = verifier.model_dump_json(exclude={"name"})
    return hashlib.sha256(f"{timeout_s} {content}".encode()).hexdigest()
