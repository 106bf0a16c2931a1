"""Calls of a batch on the real engine: a cgroup for each, and what they may do with it and without it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio

from tests.sandbox_engine import list_left, open_workshop
from toolsandbox.code import batches
from toolsandbox.code.batches import FunctionCall
from toolsandbox.code.cgroups import CgroupsUnavailable
from toolsandbox.code.engine import EngineError
from toolsandbox.code.workshop import Workshop

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def workshop() -> AsyncIterator[Workshop]:
    async with open_workshop("batches", warm=1, batch_workers=3) as opened:
        yield opened
    assert await list_left("batches") == []


def function(body: str, *arguments: object, **limits: float) -> FunctionCall:
    source = "def f(*a):\n" + "\n".join(f"    {line}" for line in body.splitlines())
    chosen = {"wall_s": 30, "cpu_s": 30, **limits}
    return FunctionCall(source=source, function="f", arguments=list(arguments), **chosen)


def neighbours(count: int) -> list[FunctionCall]:
    return [function("data = bytearray(30 << 20)\nreturn len(data) + a[0]", number) for number in range(count)]


GREEDY = {
    "memory": (function("return len(bytearray(10**9))"), "oom"),
    "memory in steps": (function("held = []\nwhile 1: held.append(bytearray(1 << 20))"), "oom"),
    "memory of children": (
        function("import os\nif os.fork() == 0:\n    held = bytearray(10**9)\nos.wait()\nraise ValueError"),
        "oom",
    ),
    "forks": (function("import os, time\nwhile 1:\n    if os.fork() == 0: time.sleep(60)"), "pids_limit"),
    "threads": (
        function("import threading, time\nwhile 1: threading.Thread(target=time.sleep, args=(60,)).start()"),
        "pids_limit",
    ),
    "fork bomb": (function("import os\nwhile 1:\n    try: os.fork()\n    except OSError: pass", wall_s=2), "timeout"),
    "processor": (function("while 1: pass", cpu_s=1), "timeout"),
    "less than a second of processor": (
        function("import time\nwhile time.process_time() < 0.5: pass", cpu_s=0.2),
        "timeout",
    ),
}


async def test_greed_has_a_name_and_costs_no_neighbour_anything(workshop):
    calls, wanted = [], []
    for number, (greedy, status) in enumerate(GREEDY.values()):
        calls += [greedy, *neighbours(2)]
        wanted += [(status, None), *(("ok", (30 << 20) + n) for n in range(2))]
        assert number < len(GREEDY)
    answers = await workshop.run_batch(calls)
    assert workshop.no_cgroups == ""
    assert [(answer.status, answer.value) for answer in answers] == wanted


async def test_a_call_sits_in_a_cgroup_of_its_own_with_its_own_limits(workshop):
    before = set(Path("/sys/fs/cgroup").glob("memory/**/call-*"))
    calls = [function("import time; time.sleep(60)", memory_bytes=size << 20) for size in (64, 128)]
    batch = asyncio.create_task(workshop.run_batch(calls))
    seen: set[int] = set()
    while not {64 << 20, 128 << 20} <= seen:
        assert not batch.done()
        for folder in set(Path("/sys/fs/cgroup").glob("memory/**/call-*")) - before:
            with suppress(FileNotFoundError):
                seen.add(int((folder / "memory.limit_in_bytes").read_text()))
        await asyncio.sleep(0.01)
    batch.cancel()
    await asyncio.gather(batch, return_exceptions=True)


async def test_a_function_reaches_no_cgroup_and_makes_no_namespace(workshop):
    reach = (
        "import os\nfound = []\nfor path in a:\n    try: found.append(os.listdir(path))\n"
        "    except OSError as refused: found.append(refused.errno)\nreturn found"
    )
    clone = (
        "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\nseen = []\n"
        "for flags in (0x10000000, 0x20000000, 0x00020000, 0x02000000):\n"
        "    pid = libc.syscall(56, flags | 17, 0, 0, 0, 0)\n    if pid == 0: os._exit(0)\n"
        "    seen.append([pid, ctypes.get_errno()])\nreturn seen"
    )
    paths = ["/sys", "/sys/fs/cgroup", "/proc", "/proc/self"]
    answers = await workshop.run_batch([function(reach, *paths), function(clone)])
    assert answers[0].value == [[], 2, [], 2]
    assert answers[1].value == [[-1, 1]] * 4


async def test_only_the_first_process_of_a_call_answers_it(workshop):
    answers = await workshop.run_batch([function("import os\nreturn os.fork() == 0") for _ in range(10)])
    assert [(answer.status, answer.value) for answer in answers] == [("ok", False)] * 10


async def test_no_exit_code_of_a_function_makes_its_failure_ours(workshop):
    answers = await workshop.run_batch(
        [function(f"import os\nos._exit({code})") for code in (0, 1, 5, 71, 98, 99, 255)]
    )
    assert {answer.status for answer in answers} == {"error"}


async def test_threads_and_more_memory_than_address_space_work_within_the_limits(workshop):
    body = (
        "import threading\ndone = []\nthreads = [threading.Thread(target=done.append, args=(n,)) for n in range(5)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\nreturn sorted(done)"
    )
    (answer,) = await workshop.run_batch([function(body, memory_bytes=48 << 20)])
    assert (answer.status, answer.value) == ("ok", [0, 1, 2, 3, 4])


async def test_a_call_that_wants_more_than_one_may_have_is_rejected_and_says_so(workshop):
    answers = await workshop.run_batch([function("return 1", memory_bytes=1 << 30), function("return 2")])
    assert [answer.status for answer in answers] == ["rejected", "ok"]
    assert answers[0].detail == "memory_bytes: 1073741824 is more than the 268435456 that one call may have"


async def test_without_cgroups_a_function_is_one_process_with_little_address_space(monkeypatch):
    """As where the service is not root on the engine's host."""

    def refuse(*_: object) -> None:
        raise CgroupsUnavailable("calls of a batch share their container's cgroup (no permission to write them)")

    monkeypatch.setattr(batches, "find_call_cgroups", refuse)
    async with open_workshop("plain-batches", warm=1, batch_workers=3) as plain:
        answers = await plain.run_batch(
            [
                function("return len(bytearray(10**9))"),
                function("import os; os.fork()"),
                function("while 1: pass", cpu_s=1),
                *neighbours(3),
            ]
        )
        assert "no permission" in plain.no_cgroups
    assert [answer.status for answer in answers] == ["oom", "error", "timeout", "ok", "ok", "ok"]
    assert "PermissionError" in answers[1].detail


async def test_nothing_is_left_of_a_batch_that_was_ended_in_the_middle(workshop):
    sleepers = [function("import time; time.sleep(60)") for _ in range(3)]
    batch = asyncio.create_task(workshop.run_batch(sleepers))
    while not (taken := [each for each in workshop.batch_pool._leased if each.is_busy]):
        await asyncio.sleep(0.01)
    identity = taken[0].identity
    await workshop.engine.kill(identity)
    answers = await batch
    assert {answer.status for answer in answers} == {"infra_error"}
    async with asyncio.timeout(60):
        while any(Path("/sys/fs/cgroup").glob(f"*/**/{identity}*")):
            await asyncio.sleep(0.05)


async def test_a_runtime_that_the_engine_does_not_know_is_told_at_start(workshop):
    other = Workshop(workshop.settings.model_copy(update={"runtime": "krun", "owner": "test-runtime"}))
    with pytest.raises(EngineError, match=r"knows no runtime krun, only .*runc.*; set `runtime` to one of them"):
        await other.open()
    await other.close()
