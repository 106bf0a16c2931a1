"""Start every provider, look at its health, search and read once, and stop."""

from collections.abc import Sequence
from contextlib import AsyncExitStack

from toolsandbox.law.provider import LawTools
from toolsandbox.tools import ToolProvider


async def run_selftest(providers: Sequence[ToolProvider]) -> int:
    """0 when every provider started, is ready and answers as it must."""
    if not providers:
        print("nothing to test: give --corpus FILE.jsonl, or leave out --no-code")
        return 2
    failed = 0
    async with AsyncExitStack() as stack:
        for provider in providers:
            name = type(provider).__name__
            stack.push_async_callback(provider.stop)
            try:
                await provider.start()
                health = provider.health()
                faults = [] if health.ready else [health.detail]
                if isinstance(provider, LawTools):
                    faults += await _try_law(provider)
            except Exception as error:
                health, faults = None, [f"{type(error).__name__}: {error}"]
            facts = f" {health.detail} {health.facts}" if health else ""
            print(f"{name}: {'ok' if not faults else 'FAILED'}{facts}")
            for fault in faults:
                print(f"  {fault}")
            failed += bool(faults)
    return 1 if failed else 0


async def _try_law(tools: LawTools) -> list[str]:
    """Every tenth section must be found by its own citation, and searched twice give one ranking."""
    from toolsandbox.contract import ReadLaw

    faults = []
    for section in tools.engine.index.sections[::10]:
        reply = tools.reader.read(ReadLaw(law_name=section.law_name, section_num=section.section_num))
        if reply.answer != "found" or reply.section_num != section.section_num:
            faults.append(f"read_law does not find {section.law_name} {section.section_num}: {reply.answer}")
        query = section.text[:200]
        if tools.engine.search(query, 10) != tools.engine.search(query, 10):
            faults.append(f"two searches for {query!r} differ")
    return faults[:10]
