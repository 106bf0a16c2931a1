"""Hostile programs against the real engine: each ends with the one status it should, and reaches nothing."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.hostile_programs import ALL, CATCHING, IN_BATCH, NOT_IN_BATCH
from tests.sandbox_engine import SHORT, Traces, list_left, open_workshop
from toolsandbox.code.answers import ValueAnswer
from toolsandbox.code.batches import FunctionCall
from toolsandbox.code.settings import CallLimits
from toolsandbox.code.workshop import Workshop

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

BATCHED = [row for row in ALL if row.number not in NOT_IN_BATCH]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def workshop() -> AsyncIterator[Workshop]:
    traces = Traces()
    async with open_workshop("hostile", traces=traces, warm=2, most_containers=6) as opened:
        before = traces.count_kept()
        yield opened
    assert await list_left("hostile") == []
    assert traces.containers
    assert await traces.find() == []
    assert traces.count_kept() <= before


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def answers_of_batch(workshop) -> dict[str, ValueAnswer]:
    """All in one batch: what one function does to its container, the next one would feel."""
    calls = [
        FunctionCall(source=CATCHING, function="attack", arguments=[row.source], wall_s=3, cpu_s=3) for row in BATCHED
    ]
    return dict(zip((row.number for row in BATCHED), await workshop.run_batch(calls), strict=True))


@pytest.mark.parametrize("hostile", ALL, ids=lambda row: f"{row.number}-{row.name}")
async def test_a_hostile_program_ends_as_it_should(workshop, hostile):
    answer = await workshop.run(hostile.source, limits=hostile.limits)
    assert answer.status == hostile.status, answer
    if hostile.says is not None:
        assert answer.stdout == hostile.says, answer
    answer.model_dump_json().encode("utf-8")


@pytest.mark.parametrize("hostile", BATCHED, ids=lambda row: f"{row.number}-{row.name}")
async def test_a_hostile_function_ends_as_it_should(answers_of_batch, hostile):
    answer = answers_of_batch[hostile.number]
    statuses, says = IN_BATCH.get(hostile.number, ({hostile.status}, hostile.says))
    assert answer.status in statuses, answer
    if says is not None and answer.status == "ok":
        assert answer.value == says, answer
    answer.model_dump_json().encode("utf-8")


async def test_what_was_killed_says_by_what(workshop):
    wall = await workshop.run("import time; time.sleep(60)", limits=SHORT)
    cpu = await workshop.run("while 1: pass", limits=CallLimits(wall_s=60, cpu_s=0.3))
    segmentation = await workshop.run("import ctypes; ctypes.string_at(0)")
    assert (wall.limit, cpu.limit, segmentation.limit) == ("wall", "cpu", None)
    assert segmentation.signal == 11


async def test_output_is_kept_up_to_the_cap_and_no_further(workshop):
    limits = CallLimits(wall_s=30, output_bytes=1000)
    exactly = await workshop.run("print('x' * 999)", limits=limits)
    over = await workshop.run("print('y' * 1000)", limits=limits)
    assert (exactly.status, exactly.stdout) == ("ok", "x" * 999 + "\n")
    assert (over.status, over.stdout, over.truncated) == ("output_limit", "y" * 1000, True)


async def test_a_child_killed_for_memory_is_told_beside_a_program_that_went_on(workshop):
    answer = await workshop.run("import os\nif os.fork() == 0:\n    bytearray(10**9)\nos.wait()")
    assert (answer.status, answer.oom_child) == ("ok", True)


async def test_input_that_is_never_read_blocks_nothing(workshop):
    answer = await workshop.run("print('done')", stdin=b"x" * (10 << 20))
    assert (answer.status, answer.stdout) == ("ok", "done\n")


async def test_a_long_input_arrives_whole(workshop):
    answer = await workshop.run("import sys; print(len(sys.stdin.read()))", stdin=b"x" * (10 << 20))
    assert answer.stdout == f"{10 << 20}\n"


async def test_nothing_passes_from_one_container_to_the_next(workshop):
    await workshop.run(
        "import builtins, os\nopen('/tmp/left', 'w').write('x')\nbuiltins.left = 1\nos.mkdir('/tmp/.config')\n"
        "open('/tmp/sitecustomize.py', 'w').write('print(1)')\nopen('/tmp/evil.pth', 'w').write('import os')"
    )
    answer = await workshop.run("import os, builtins\nprint(os.listdir('/tmp'), hasattr(builtins, 'left'))")
    assert answer.stdout == "[] False\n"


async def test_children_do_not_share_their_random_numbers(workshop):
    """Two processes forked from one interpreter draw the same numbers unless each is seeded anew."""
    values = await workshop.evaluate("import random", ["random.random()"] * 3)
    assert len({value.value for value in values}) == 3


VERIFIERS = {
    "truthy number": "return 1",
    "truthy text": "return 'True'",
    "truthy list": "return [True]",
    "not a number": "return float('nan')",
    "huge number": "return 10 ** 10000",
    "generator": "return (n for n in [True])",
    "object that raises when asked": "class Odd:\n    def __bool__(self): raise ValueError\nreturn Odd()",
    "object that says yes": "class Yes:\n    def __eq__(self, other): return True\nreturn Yes()",
    "subclass of a number": "class Yes(int): pass\nreturn Yes(1)",
    "nothing": "return None",
    "endless": "while True: pass",
    "exit": "raise SystemExit(0)",
    "forged error": 'import os\nos.write(3, b\'{"error": "\\\\ud800"}\')\nos._exit(1)',
    "forged number": "import os\nos.write(3, b'{\"value\": NaN}')\nos._exit(0)",
    "forged depth": "import os\nos.write(3, b'[' * 60000)\nos._exit(0)",
}


async def test_a_verifier_says_yes_by_true_and_by_nothing_else(workshop):
    def write(body: str) -> FunctionCall:
        source = "def check(answer):\n" + "".join(f"    {line}\n" for line in body.splitlines())
        return FunctionCall(source=source, function="check", arguments=[["a"]], wall_s=3)

    good = ["return True", "print('no')\nreturn True", "answer.append(1)\nreturn True"]
    answers = await workshop.run_batch([write(body) for body in [*VERIFIERS.values(), *good]])
    for name, answer in zip(VERIFIERS, answers, strict=False):
        assert not answer.is_true, name
        answer.model_dump_json().encode("utf-8")
    assert [answer.is_true for answer in answers[-len(good) :]] == [True] * len(good)
    answered = {name for name, answer in zip(VERIFIERS, answers, strict=False) if answer.has_value}
    assert answered == {"truthy number", "truthy text", "truthy list", "nothing"}


async def test_what_a_verifier_does_to_its_argument_the_next_one_does_not_see(workshop):
    source = "def f(a):\n    a.append(1)\n    return len(a)"
    answers = await workshop.run_batch([FunctionCall(source=source, function="f", arguments=[[]])] * 2)
    assert [answer.value for answer in answers] == [1, 1]


@pytest.mark.parametrize(
    ("code", "tests"),
    [
        ("def f(): return 10 ** 1000", "assert abs(f() - 0.5) < 1e-6"),
        ("import os; os.write(3, b'[' * 10**5); os._exit(0)", "assert f() == 1"),
        ("import os; os.write(3, b'{\"value\": ' + b'9' * 10**5 + b'}'); os._exit(0)", "assert f() == 1"),
        ("import os; os.write(3, b'{\"value\": Infinity}'); os._exit(0)", "assert abs(f() - 0.5) < 1e-6"),
        ('import os; os.write(3, b\'{"refused": "\\\\ud800"}\'); os._exit(0)', "assert f() == 1"),
    ],
    ids=["huge number", "depth", "digits", "infinity", "surrogate"],
)
async def test_no_answer_of_a_program_upsets_the_judge(workshop, code, tests):
    answer = await workshop.run_tests(code, tests)
    assert (answer.status, answer.passed, answer.total) == ("ok", 0, 1), answer
    answer.model_dump_json().encode("utf-8")


@pytest.mark.parametrize(
    "tests",
    [
        "assert f(" + "-" * 5000 + "1) == 1",
        "assert f(" + "1+" * 20000 + "1) == 1",
        "assert f(" + "(" * 500 + ")" * 500 + ") == 1",
        "assert f() == " + "[" * 90 + "]" * 90,
        "assert f() == " + "9" * 5000,
        "assert f() == 1\n" * 400_000,
        "assert f(1)" + ".a" * 50000 + " == 1",
        "\0",
        "assert f() == '\ud800'",
    ],
    ids=["signs", "sum", "brackets", "nested literal", "digits", "many", "attributes", "NUL", "surrogate"],
)
async def test_tests_that_are_an_attack_are_rejected_or_judged_and_nothing_breaks(workshop, tests):
    answer = await workshop.run_tests("def f(*a): return 0", tests)
    assert (answer.status, answer.passed) in {("rejected", 0), ("ok", 0)}, answer
    answer.model_dump_json().encode("utf-8")


TAKE_ALL = {
    "inotify queues": "while libc.inotify_init() >= 0: taken += 1",
    "waiting signals": (
        "signal.pthread_sigmask(signal.SIG_BLOCK, [40])\nwhile libc.sigqueue(os.getpid(), 40, 0) == 0: taken += 1"
    ),
}


@pytest.mark.parametrize("what", TAKE_ALL)
async def test_what_the_kernel_counts_per_user_no_program_takes_from_its_neighbours(workshop, what):
    code = "import ctypes, os, signal, time\nlibc, taken = ctypes.CDLL(None), 0\n" + TAKE_ALL[what] + "\nprint(taken)"
    greedy = await workshop.run(code + "\nhold = 1", session="greedy")
    assert greedy.status == "ok", greedy
    after = await workshop.run(code)
    assert int(after.stdout) >= 100, "the first one took all there is on this host"
    await workshop.end_session("default", "greedy")


async def test_every_container_has_a_user_of_its_own(workshop):
    answers = [await workshop.run("import os; print(os.getuid(), os.getgid())") for _ in range(4)]
    seen = {answer.stdout for answer in answers}
    assert len(seen) == 4
    assert all(30_000 <= int(each.split()[0]) < 60_000 for each in seen)


async def test_no_file_but_those_of_its_temporary_folder_can_be_written(workshop):
    code = """
import os
found = []
for top, folders, names in os.walk('/'):
    if top in ('/proc', '/tmp', '/sys', '/dev'):
        folders.clear()
        continue
    found += [path for path in (top, *(os.path.join(top, name) for name in names))
              if not os.path.islink(path) and os.access(path, os.W_OK)]
for top, folders, names in os.walk('/sys'):
    found += [path for path in (top, *(os.path.join(top, name) for name in names)) if os.access(path, os.W_OK)]
for folder in ('/dev', '/dev/shm', '/dev/mqueue', '/dev/pts'):
    try:
        open(folder + '/planted', 'w').close()
    except OSError:
        continue
    found.append(folder)
print(found)
"""
    answer = await workshop.run(code)
    assert (answer.status, answer.stdout) == ("ok", "[]\n"), answer
