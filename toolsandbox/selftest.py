"""Try every tool once, as it would be used, and tell each trial in a line: ok, failed, or unavailable."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

from toolsandbox.code.provider import CodeProvider
from toolsandbox.code.settings import CallLimits
from toolsandbox.code.workshop import Workshop
from toolsandbox.contract import ReadLaw
from toolsandbox.law.provider import LawTools
from toolsandbox.tools import ToolProvider

Trial = tuple[str, str, str]
"""Its outcome (`ok`, `failed` or `unavailable`), what was tried, and what came of it."""

SHORT_S = 1.0
ENDS_WITHIN_S = 0.5
"""A program that ran out of time is gone this soon after."""
TRIES = 3
"""A busy machine may be late once; a kill that does not work is late every time."""


async def run_selftest(providers: Sequence[ToolProvider]) -> int:
    """Prints the trials. 0 when none failed; what a machine lacks is `unavailable`, not failed."""
    if not providers:
        print("nothing to test: give --corpus FILE.jsonl, or leave out --no-code")
        return 2
    counts = {"ok": 0, "failed": 0, "unavailable": 0}
    async with AsyncExitStack() as stack:
        for provider in providers:
            stack.push_async_callback(provider.stop)
            print("law tools" if isinstance(provider, LawTools) else "code tools")
            async for outcome, what, found in _try(provider):
                counts[outcome] += 1
                print(f"  {outcome:<11}  {what}{': ' if found else ''}{found}", flush=True)
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    return 1 if counts["failed"] else 0


async def _try(provider: ToolProvider) -> AsyncIterator[Trial]:
    """What raises is a trial that failed, and the last of its provider."""
    try:
        await provider.start()
        trials = _try_law(provider) if isinstance(provider, LawTools) else _try_code(provider)
        async for trial in trials:
            yield trial
    except Exception as error:
        yield "failed", "start and trials", f"{type(error).__name__}: {error}"


async def _try_law(tools: LawTools) -> AsyncIterator[Trial]:
    """Every tenth section must be found by its own citation, and searched twice give one ranking."""
    facts = tools.health().facts
    yield "ok", "corpus", f"{facts['laws']} laws, {facts['sections']} sections, hash {facts['corpus_hash']}"
    unread, unsteady = [], []
    sections = tools.engine.index.sections[::10]
    for section in sections:
        reply = tools.reader.read(ReadLaw(law_name=section.law_name, section_num=section.section_num))
        if reply.answer != "found" or reply.section_num != section.section_num:
            unread.append(f"{section.law_name} {section.section_num} is {reply.answer}")
        query = section.text[:200]
        if tools.engine.search(query, 10) != tools.engine.search(query, 10):
            unsteady.append(f"{query!r}")
    yield _tell("read_law by citation", unread, f"{len(sections)} sections")
    yield _tell("search_law ranks the same twice", unsteady, f"{len(sections)} queries")


def _tell(what: str, faults: Sequence[str], fine: str) -> Trial:
    return ("failed", what, "; ".join(faults[:5])) if faults else ("ok", what, fine)


async def _try_code(provider: ToolProvider) -> AsyncIterator[Trial]:
    assert isinstance(provider, CodeProvider)
    if provider.workshop is None:
        yield "unavailable", "container engine", provider.reason.removeprefix("unavailable: ")
        return
    workshop, settings = provider.workshop, provider.settings
    version = await workshop.engine.ping()
    yield "ok", "container engine", f"{version.get('Version')} at {settings.socket}, runtime {settings.runtime}"
    pinned = "as the settings ask for" if settings.image_digest else "not pinned by the settings"
    yield "ok", "image", f"{settings.image}, {workshop.image_digest}, {pinned}"
    report = provider.report
    if report is not None:
        yield _tell("probe", [] if report.passed else [report.summary()], report.summary())
    yield await _try_program(workshop)
    yield await _try_session(workshop)
    yield await _try_tests(workshop)
    yield await _try_verifier(workshop)
    yield await _try_time_limit(workshop)


async def _try_program(workshop: Workshop) -> Trial:
    answer = await workshop.run("print(6 * 7)")
    faults = [] if answer.stdout == "42\n" else [f"{answer.status} {answer.message or answer.stderr}"]
    return _tell("a program (tier A)", faults, f"{answer.wall_ms:.1f} ms")


async def _try_session(workshop: Workshop) -> Trial:
    await workshop.run("kept = 42", session="selftest")
    answer = await workshop.run("print(kept)", session="selftest")
    await workshop.end_session("default", "selftest")
    faults = [] if answer.stdout == "42\n" else [f"{answer.status} {answer.message or answer.stderr}"]
    return _tell("a session keeps its variables", faults, "")


async def _try_tests(workshop: Workshop) -> Trial:
    tests = "assert double(4) == 8\nassert double(-1) == -2"
    right = await workshop.run_tests("def double(n): return 2 * n", tests)
    wrong = await workshop.run_tests("import sys; sys.exit(0)", tests)
    fine = right.all_passed and wrong.status == "ok" and wrong.passed == 0
    faults = [] if fine else [f"right: {right.model_dump_json()}, wrong: {wrong.model_dump_json()}"]
    return _tell("tests pass a right program and fail one that exits", faults, f"{right.wall_ms:.1f} ms")


async def _try_verifier(workshop: Workshop) -> Trial:
    source = "def evaluate(text): return text.endswith('.')"
    tells = await workshop.admit_verifier(source, "evaluate", good=["Yes."], bad=["No"])
    blind = await workshop.admit_verifier("def evaluate(text): return True", "evaluate", good=["Yes."], bad=["No"])
    faults = [] if tells and not blind else [f"one that tells: {tells}, one that does not: {blind}"]
    return _tell("a verifier is admitted only if it tells good from bad (tier B)", faults, "")


async def _try_time_limit(workshop: Workshop) -> Trial:
    late = []
    limits = CallLimits(wall_s=SHORT_S, cpu_s=600)
    for _ in range(TRIES):
        began = time.monotonic()
        answer = await workshop.run("import signal\nsignal.signal(15, signal.SIG_IGN)\nwhile 1: pass", limits=limits)
        after_s = time.monotonic() - began - answer.queue_ms / 1e3 - SHORT_S
        if answer.status != "timeout":
            late.append(f"ended as {answer.status} {answer.message}")
        elif after_s > ENDS_WITHIN_S:
            late.append(f"ended {after_s:.2f} s late")
        else:
            return _tell("an endless program is killed", [], f"{after_s * 1e3:.0f} ms after its limit of {SHORT_S:g} s")
    return _tell("an endless program is killed", late, "")
