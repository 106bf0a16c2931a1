"""Written verifiers: each is used only after it accepted known good answers and refused known bad ones.

Verdicts are given here, on plain JSON values, and strictly: True is a pass, False is a fail, and whatever else a
function answers is no verdict at all.
"""

import hashlib
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from toolsandbox.code.batches import FunctionCall
from toolsandbox.contract import (
    TrialReply,
    TrialRequest,
    ValueAnswer,
    Verifier,
    VerifierReport,
    VerifierVerdict,
    VerifyReply,
    VerifyRequest,
    WrittenFunction,
)

ROUNDS = 2
"""Every example is asked this often, in a process of its own: a verifier that tosses a coin is found out sooner."""
CHUNK = 16
"""Calls between two looks at the clock."""
MOST_TIMEOUTS = 3
"""After so many, a function's other calls of the batch are not run."""
MOST_REMEMBERED = 20_000
TOO_LONG = "not run: the batch took too long; send less at once, or allow each call less time"

Ask = tuple[WrittenFunction, list[Any]]


@dataclass
class Batch:
    """The functions of one request. `run` runs calls in a container of the request's own."""

    run: Callable[[list[FunctionCall]], Awaitable[list[ValueAnswer]]]
    timeout_s: float
    longest_s: float
    began: float = field(default_factory=time.monotonic)
    timeouts: Counter[str] = field(default_factory=Counter)
    waited_s: float = 0.0
    """For a container."""

    async def ask(self, asks: Sequence[Ask]) -> list[ValueAnswer]:
        """Answers in order. Past the clock, and after a function's third timeout, calls are timeouts without a run."""
        answers: list[ValueAnswer] = []
        for at in range(0, len(asks), CHUNK):
            chunk = asks[at : at + CHUNK]
            reasons = [self._find_reason(verifier) for verifier, _ in chunk]
            ready = [self._write(*ask) for ask, reason in zip(chunk, reasons, strict=True) if not reason]
            given = iter(await self.run(ready) if ready else [])
            for (verifier, _), reason in zip(chunk, reasons, strict=True):
                answer = ValueAnswer(status="timeout", detail=reason) if reason else next(given)
                self.timeouts[verifier.name] += answer.status == "timeout" and not reason
                answers.append(answer)
        return answers

    def _find_reason(self, verifier: WrittenFunction) -> str:
        """Why a function is not run any more, or nothing."""
        if time.monotonic() - self.began > self.longest_s:
            return TOO_LONG
        if self.timeouts[verifier.name] >= MOST_TIMEOUTS:
            return f"not run: the function ran out of time {MOST_TIMEOUTS} times"
        return ""

    def _write(self, verifier: WrittenFunction, arguments: list[Any]) -> FunctionCall:
        seconds = self.timeout_s
        return FunctionCall(
            source=verifier.source, function=verifier.function, arguments=arguments, wall_s=seconds, cpu_s=seconds
        )


async def try_functions(request: TrialRequest, batch: Batch) -> TrialReply:
    """What functions answer that were never held against known good and known bad."""
    by_name = {function.name: function for function in request.functions}
    answers = await batch.ask([(by_name[call.verifier], call.arguments) for call in request.calls])
    verdicts = [give_verdict(call.verifier, answer) for call, answer in zip(request.calls, answers, strict=True)]
    failed = any(verdict.status == "infra_error" for verdict in verdicts)
    return TrialReply(status="infra_error" if failed else "ok", retryable=failed, verdicts=verdicts)


class VerifierGate:
    """Remembers what it found out: the same source with the same examples is asked once."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, VerifierReport] = OrderedDict()

    async def judge(self, request: VerifyRequest, batch: Batch) -> VerifyReply:
        """Admit the verifiers, then ask those that were admitted."""
        reports = await self._admit(request, batch)
        by_name = {verifier.name: verifier for verifier in request.verifiers}
        asks = [(by_name[call.verifier], call.arguments) for call in request.calls if reports[call.verifier].admitted]
        answers = iter(await batch.ask(asks))
        verdicts = [
            give_verdict(call.verifier, next(answers))
            if reports[call.verifier].admitted
            else withhold_verdict(reports[call.verifier])
            for call in request.calls
        ]
        failed = any(report.admitted is None for report in reports.values())
        failed = failed or any(verdict.status == "infra_error" for verdict in verdicts)
        return VerifyReply(
            status="infra_error" if failed else "ok",
            retryable=failed,
            verifiers=[reports[verifier.name] for verifier in request.verifiers],
            verdicts=verdicts,
        )

    async def _admit(self, request: VerifyRequest, batch: Batch) -> dict[str, VerifierReport]:
        """Reports by name. One good and one bad example come first: most that cannot tell are found out by them."""
        reports: dict[str, VerifierReport] = {}
        unknown = []
        for verifier in request.verifiers:
            digest = digest_verifier(verifier, request.timeout_s)
            if digest in self._known:
                self._known.move_to_end(digest)
                reports[verifier.name] = self._known[digest].model_copy(update={"name": verifier.name})
            else:
                unknown.append(verifier)
        reports.update(await _try_examples(unknown, _first_examples, batch))
        left = [verifier for verifier in unknown if reports[verifier.name].admitted]
        reports.update(await _try_examples(left, _other_examples, batch))
        for verifier in unknown:
            if reports[verifier.name].admitted is not None and TOO_LONG not in reports[verifier.name].reason:
                self._known[digest_verifier(verifier, request.timeout_s)] = reports[verifier.name]
        while len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)
        return reports


Example = tuple[str, bool, list[Any]]
"""Its place, what a verifier must answer, and the arguments."""


def _list_examples(verifier: Verifier) -> list[Example]:
    good = [(f"good[{number}]", True, arguments) for number, arguments in enumerate(verifier.good)]
    return good + [(f"bad[{number}]", False, arguments) for number, arguments in enumerate(verifier.bad)]


def _first_examples(verifier: Verifier) -> list[Example]:
    return [example for example in _list_examples(verifier) if example[0] in ("good[0]", "bad[0]")]


def _other_examples(verifier: Verifier) -> list[Example]:
    first = _first_examples(verifier)
    return [example for example in _list_examples(verifier) * ROUNDS if example not in first] + first * (ROUNDS - 1)


async def _try_examples(
    verifiers: Sequence[Verifier], choose: Callable[[Verifier], list[Example]], batch: Batch
) -> dict[str, VerifierReport]:
    chosen = [(verifier, example) for verifier in verifiers for example in choose(verifier)]
    answers = await batch.ask([(verifier, arguments) for verifier, (_, _, arguments) in chosen])
    reports = {verifier.name: VerifierReport(name=verifier.name, admitted=True) for verifier in verifiers}
    for (verifier, (place, wanted, _)), answer in zip(chosen, answers, strict=True):
        if not reports[verifier.name].admitted or (answer.is_true if wanted else answer.is_false):
            continue
        failed = answer.status == "infra_error"
        reason = answer.detail if failed else f"{place}: {_tell(answer)}, not {wanted}"
        reports[verifier.name] = VerifierReport(name=verifier.name, admitted=None if failed else False, reason=reason)
    return reports


def _tell(answer: ValueAnswer) -> str:
    if answer.has_value:
        return f"it answered {repr(answer.value)[:100]}"
    return f"it ended with {answer.status}{': ' + answer.detail[:200] if answer.detail else ''}"


def give_verdict(name: str, answer: ValueAnswer) -> VerifierVerdict:
    if answer.is_true or answer.is_false:
        return VerifierVerdict(verifier=name, status="ok", passed=answer.is_true)
    status = "error" if answer.status == "ok" else answer.status
    detail = f"{_tell(answer)}, neither True nor False" if answer.has_value else answer.detail
    return VerifierVerdict(verifier=name, status=status, passed=None, detail=detail)


def withhold_verdict(report: VerifierReport) -> VerifierVerdict:
    detail = f"the verifier was not admitted: {report.reason}"
    if report.admitted is None:
        return VerifierVerdict(verifier=report.name, status="infra_error", passed=None, detail=detail)
    return VerifierVerdict(verifier=report.name, status="rejected", passed=None, detail=detail)


def digest_verifier(verifier: Verifier, timeout_s: float) -> str:
    content = verifier.model_dump_json(exclude={"name"})
    return hashlib.sha256(f"{timeout_s} {content}".encode()).hexdigest()
