"""Sessions, files, verdicts and batches on the real engine, and what happens when things die behind our back."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.sandbox_engine import IMAGE, SHORT, SOCKET, USUAL, list_left, open_workshop
from toolsandbox.code.attacks import Attack
from toolsandbox.code.batches import FunctionCall
from toolsandbox.code.engine import Engine, EngineError
from toolsandbox.code.hardening import build_spec
from toolsandbox.code.probe import ProbeFailed, probe, require_hardness
from toolsandbox.code.reaper import reap
from toolsandbox.code.settings import CodeSettings
from toolsandbox.code.workshop import CallRefused, Workshop

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def workshop() -> AsyncIterator[Workshop]:
    async with open_workshop("life", warm=2, most_containers=6) as opened:
        yield opened
    assert await list_left("life") == []


async def bytes_of(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def read_all(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


# ---- sessions ----


async def test_variables_live_from_call_to_call_and_in_their_session_only(workshop):
    await workshop.run("x = 41", session="a")
    assert (await workshop.run("print(x + 1)", session="a")).stdout == "42\n"
    other = await workshop.run("print(x)", session="b")
    assert (other.status, "NameError" in other.stderr) == ("error", True)
    for name in "ab":
        assert await workshop.end_session("default", name)


async def test_another_tenant_with_the_same_name_is_another_session(workshop):
    await workshop.run("x = 'secret'", session="same", tenant="one")
    seen = await workshop.run("print(x)", session="same", tenant="two")
    assert "NameError" in seen.stderr
    assert not await workshop.end_session("three", "same")
    for tenant in ("one", "two"):
        assert await workshop.end_session(tenant, "same")


async def test_an_error_keeps_the_variables_and_a_timeout_says_that_they_are_lost(workshop):
    await workshop.run("x = 1\nopen('/tmp/kept', 'w').write('here')", session="t")
    assert (await workshop.run("1 / 0", session="t")).session_reset is False
    assert (await workshop.run("print(x)", session="t")).stdout == "1\n"
    killed = await workshop.run("while 1: pass", session="t", limits=SHORT)
    assert killed.status == "timeout"
    assert killed.session_reset or killed.session_lost
    after = await workshop.run("print('x' in globals())", session="t")
    assert after.stdout == "False\n"
    await workshop.end_session("default", "t")


async def test_a_daemon_of_one_call_is_dead_in_the_next(workshop):
    await workshop.run("import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(10**6)", session="d")
    seen = await workshop.run(
        "import os\nprint(sum(open(f'/proc/{n}/stat').read().split()[2] != 'Z' for n in os.listdir('/proc')"
        " if n.isdigit()))",
        session="d",
    )
    assert seen.stdout == "2\n"
    await workshop.end_session("default", "d")


async def test_ending_a_session_ends_its_call_as_killed(workshop):
    call = asyncio.create_task(workshop.run("import time; time.sleep(10**6)", session="k"))
    while not (session := workshop._sessions.get(("default", "k"))) or session.container is None:
        await asyncio.sleep(0.01)
    assert await workshop.end_session("default", "k")
    answer = await call
    assert (answer.status, answer.retryable) == ("killed", False)


async def test_a_container_killed_behind_our_back_is_our_failure_and_not_the_programs(workshop):
    call = asyncio.create_task(workshop.run("import time; time.sleep(10**6)", session="lost"))
    while not (session := workshop._sessions.get(("default", "lost"))) or session.container is None:
        await asyncio.sleep(0.01)
    await workshop.engine.kill(session.container.identity)
    answer = await call
    assert (answer.status, answer.retryable, answer.session_lost) == ("infra_error", True, True)
    assert (await workshop.run("print(1)", session="lost")).stdout == "1\n"
    await workshop.end_session("default", "lost")


async def test_the_pool_replaces_what_was_killed_while_it_waited(workshop):
    while workshop.pool.ready < 2:
        await asyncio.sleep(0.01)
    for identity in workshop.pool.identities():
        await workshop.engine.kill(identity)
    answers = await asyncio.gather(*(workshop.run("print(7)") for _ in range(4)))
    assert {(answer.status, answer.stdout) for answer in answers} <= {("ok", "7\n"), ("infra_error", "")}
    again = await asyncio.gather(*(workshop.run("print(7)") for _ in range(4)))
    assert [(answer.status, answer.stdout) for answer in again] == [("ok", "7\n")] * 4


async def test_many_at_once_wait_their_turn_and_all_come_right(workshop):
    answers = await asyncio.gather(*(workshop.run(f"print({n})", limits=USUAL) for n in range(20)))
    assert [answer.stdout for answer in answers] == [f"{n}\n" for n in range(20)]


# ---- files ----


async def test_files_go_in_and_come_out_as_they_were(workshop):
    content = bytes(range(256)) * 4096
    await workshop.put_file("default", "f", "in/data.bin", len(content), bytes_of(content[:1000], content[1000:]))
    seen = await workshop.run("print(len(open('/tmp/in/data.bin', 'rb').read()))", session="f")
    assert seen.stdout == f"{len(content)}\n"
    assert await read_all(workshop.get_file("default", "f", "in/data.bin")) == content
    await workshop.end_session("default", "f")


async def test_only_regular_files_come_out(workshop):
    await workshop.run(
        "import os\nos.symlink('/etc/passwd', '/tmp/link')\nos.symlink('/etc', '/tmp/folder')\nos.mkfifo('/tmp/fifo')\n"
        "os.mkdir('/tmp/dir')\nos.truncate(os.open('/tmp/sparse', os.O_CREAT | os.O_RDWR), 1 << 40)",
        session="r",
    )
    for path in ("link", "folder/passwd", "fifo", "dir", "sparse", "none"):
        with pytest.raises(CallRefused, match=path):
            await read_all(workshop.get_file("default", "r", path))
    with pytest.raises(CallRefused):
        await workshop.put_file("default", "r", "folder/planted", 1, bytes_of(b"x"))
    with pytest.raises(CallRefused):
        await workshop.put_file("default", "r", "fifo", 1, bytes_of(b"x"))
    assert (await workshop.run("print('alive')", session="r")).stdout == "alive\n"
    await workshop.end_session("default", "r")


async def test_a_file_of_another_length_than_it_said_is_refused(workshop):
    with pytest.raises(CallRefused, match="shorter"):
        await workshop.put_file("default", "s", "a", 10, bytes_of(b"x"))
    with pytest.raises(CallRefused, match="longer"):
        await workshop.put_file("default", "s", "a", 1, bytes_of(b"xyz"))
    await workshop.end_session("default", "s")


# ---- verdicts ----

TESTS = "assert add(1, 2) == 3\nassert add(-1, 1) == 0\nassert add('a', 'b') == 'ab'"


@pytest.mark.parametrize(
    ("row", "code", "passed"),
    [
        ("right", "def add(a, b): return a + b", 3),
        ("56", "import os; os._exit(0)", 0),
        ("56b", "import sys; sys.exit(0)", 0),
        ("57", "print('{\"value\": 3}')\nprint('3 passed')\ndef add(a, b): return None", 0),
        ("71a", "class Yes:\n    def __eq__(self, other): return True\ndef add(a, b): return Yes()", 0),
        ("71b", "class Yes(int):\n    def __eq__(self, other): return True\ndef add(a, b): return Yes(9)", 0),
        ("71c", "import atexit, os\natexit.register(os._exit, 0)\ndef add(a, b): return 9", 0),
        ("71d", "import json\njson.dumps = lambda *a, **k: '{\"value\": 3}'\ndef add(a, b): return 9", 1),
        ("71e", "open('/tmp/conftest.py', 'w').write('x')\ndef add(a, b): return 9", 0),
        (
            "71f",
            "import builtins\nbuiltins.AssertionError = None\nbuiltins.__debug__ = False\ndef add(a, b): return 9",
            0,
        ),
        (
            "73",
            "import sys\ndef add(a, b):\n    frame, seen = sys._getframe(), []\n    while frame:\n"
            "        seen.append(repr(frame.f_locals)); frame = frame.f_back\n"
            "    return 'ab' if \"'ab'\" in ''.join(seen).replace(\"return 'ab'\", '').replace('in', '') else 9",
            0,
        ),
    ],
)
async def test_only_a_right_program_passes(workshop, row, code, passed):
    answer = await workshop.run_tests(code, TESTS)
    assert (answer.status, answer.passed, answer.total) == ("ok", passed, 3), answer


async def test_tests_that_show_the_answer_are_rejected(workshop):
    answer = await workshop.run_tests("def f(): return 1", "assert f() > 0")
    assert (answer.status, answer.total) == ("rejected", 0)


def function(body: str, *arguments: object, **limits: float) -> FunctionCall:
    source = "def f(*a):\n" + "\n".join(f"    {line}" for line in body.splitlines())
    return FunctionCall(source=source, function="f", arguments=list(arguments), **limits)


async def test_functions_of_a_batch_answer_by_themselves_and_for_themselves(workshop):
    calls = {
        "sum": (function("return a[0] + a[1]", 1, 2), "ok", 3),
        "endless": (function("while 1: pass", wall_s=1), "timeout", None),
        "sleeper": (function("import time; time.sleep(99)", wall_s=1), "timeout", None),
        "cpu": (function("while 1: pass", wall_s=30, cpu_s=1), "timeout", None),
        "socket": (function("import socket; socket.socket(1)"), "error", None),
        "memory": (function("return len(bytearray(10**9))", wall_s=30), "oom", None),
        "exit": (function("import sys; sys.exit(0)"), "error", None),
        "hard exit": (function("import os; os._exit(0)"), "error", None),
        "crash": (function("import ctypes; ctypes.string_at(0)"), "error", None),
        "not plain": (function("return object()"), "error", None),
        "not a number": (function("return float('nan')"), "error", None),
        "too long": (function("return 'x' * 10**6"), "output_limit", None),
        "processes": (function("import os; return os.listdir('/proc')"), "ok", []),
        "writes": (function("open('/tmp/left', 'w').write('x'); return True"), "ok", True),
        "reads": (function("import os; return os.listdir('/tmp')"), "ok", []),
        "alone": (function("import os; return os.getpid()"), "ok", 1),
        "kills": (function("import os\nos.kill(-1, 9)"), "error", None),
    }
    answers = await workshop.run_batch([call for call, _, _ in calls.values()])
    found = {name: (answer.status, answer.value) for name, answer in zip(calls, answers, strict=True)}
    assert found == {name: (status, value) for name, (_, status, value) in calls.items()}


async def test_a_verifier_is_used_only_if_it_tells_good_from_bad(workshop):
    async def admits(source: str) -> bool:
        return await workshop.admit_verifier(source, "check", good=["yes"], bad=["no"])

    assert await admits("def check(answer): return answer == 'yes'")
    assert not await admits("def check(answer): return True")
    assert not await admits("def check(answer): return 1 if answer == 'yes' else 0")
    assert not await admits("def check(answer): raise ValueError")
    assert not await admits("import sys; sys.exit(0)")


# ---- probe, reaper, engine ----


async def test_the_probe_holds_on_this_engine(workshop):
    report = await probe(workshop)
    assert report.reached == {}
    assert len(report.held) >= 40


async def test_an_attack_that_succeeds_or_says_nothing_stops_the_service(workshop, monkeypatch):
    attacks = [Attack("write where it may", "print('REACHED')"), Attack("crash", "1 / 0")]
    monkeypatch.setattr("toolsandbox.code.probe.ATTACKS", attacks)
    with pytest.raises(ProbeFailed, match=r"does not hold.*write where it may: REACHED.*crash: no verdict"):
        await require_hardness(workshop)


async def test_a_softer_profile_is_found_out(monkeypatch):
    """The engine's own default profile, on this engine: the probe must not pass with it."""

    def soften(settings: CodeSettings, **how: object) -> dict:
        spec = build_spec(settings, **how)
        spec["HostConfig"]["SecurityOpt"] = ["no-new-privileges:true"]
        return spec

    monkeypatch.setattr("toolsandbox.code.workshop.build_spec", soften)
    async with open_workshop("soft", warm=1) as soft:
        with pytest.raises(ProbeFailed) as found:
            await require_hardness(soft)
    assert "seccomp profile" in str(found.value)
    assert "netlink" in str(found.value)


async def test_what_an_earlier_service_left_is_removed_by_label_and_nothing_else(workshop):
    engine = Engine(SOCKET)
    owner = CodeSettings(owner="test-reaped", image=IMAGE)

    async def leave(life_s: float, settings: CodeSettings) -> str:
        spec = build_spec(settings, image=workshop.image, program=["/bin/sleep", "1000"], life_s=life_s)
        identity = await engine.create(spec, name=f"chanote-sandbox-test-{settings.owner}-{life_s:g}")
        await engine.start(identity)
        return identity

    expired, fresh = await leave(-1, owner), await leave(1000, owner)
    assert await reap(engine, owner="test-somebody", held=set()) == 0
    assert await reap(engine, owner="test-reaped", held={expired}) == 0
    assert await reap(engine, owner="test-reaped", held=set()) == 1
    assert await list_left("reaped") == [fresh]
    assert await reap(engine, owner="test-reaped", held=set(), at_start=True) == 1
    assert await list_left("reaped") == []


async def test_an_image_with_other_contents_is_refused(workshop):
    other = Workshop(CodeSettings(socket=SOCKET, image=IMAGE, image_digest="sha256:" + "0" * 64))
    with pytest.raises(EngineError, match=r"has the digest sha256:.*, not sha256:000"):
        await other.find_image()
