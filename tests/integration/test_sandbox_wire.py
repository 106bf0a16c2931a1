"""SandboxFusion's clients against the real engine: exact JSON, files, cells, and what verl does with the replies."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest
import pytest_asyncio

from tests.sandbox_app import OpenService, open_service
from tests.sandbox_engine import list_left

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service() -> AsyncIterator[OpenService]:
    async with open_service("wire", warm=2, most_containers=6) as opened:
        yield opened
    assert await list_left("wire") == []


async def ask(service: OpenService, path: str, body: dict) -> dict:
    """Limits long enough for a busy machine, where the body names none."""
    response = await service.client.post(path, json={"run_timeout": 50, "total_timeout": 50, **body})
    assert response.status_code == 200, response.text
    return without_times(response.json())


def without_times(reply: dict) -> dict:
    """Times differ from run to run: each is checked to be one, and set to 0."""
    for part in ("run_result", "driver"):
        if reply.get(part):
            assert reply[part]["execution_time"] > 0
            reply[part]["execution_time"] = 0
    return reply


def encode(content: bytes) -> str:
    return base64.b64encode(content).decode()


def run_reply(overall: str, *, message: str = "", files: dict | None = None, **run: object) -> dict:
    usual = {"status": "Finished", "execution_time": 0, "return_code": 0, "stdout": "", "stderr": ""}
    return {
        "status": overall,
        "message": message,
        "compile_result": None,
        "run_result": {**usual, **run},
        "executor_pod_name": None,
        "files": files or {},
    }


# ---- /run_code ----

TRACE = """Traceback (most recent call last):
  File "<program>", line 1, in <module>
    raise ValueError('no')
ValueError: no
"""


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({"code": "print(1)", "language": "python"}, run_reply("Success", stdout="1\n")),
        (
            {"code": "print(input()[::-1])", "language": "python", "stdin": "abc\n", "memory_limit_MB": 1024},
            run_reply("Success", stdout="cba\n"),
        ),
        ({"code": "raise ValueError('no')", "language": "python"}, run_reply("Failed", return_code=1, stderr=TRACE)),
        ({"code": "import sys; sys.exit(3)", "language": "python"}, run_reply("Failed", return_code=3)),
        ({"code": "import os; os.kill(os.getpid(), 11)", "language": "python"}, run_reply("Failed", return_code=139)),
        (
            {"code": "echo out; echo err >&2; exit 4", "language": "bash"},
            run_reply("Failed", return_code=4, stdout="out\n", stderr="err\n"),
        ),
        (
            {"code": "print('so far', flush=True)\nwhile 1: pass", "language": "python", "run_timeout": 1},
            run_reply("Failed", status="TimeLimitExceeded", return_code=None, stdout="so far\n"),
        ),
        (
            {"code": "bytearray(10**9)", "language": "python"},
            run_reply("Failed", message="out of memory", return_code=137),
        ),
    ],
)
async def test_a_run_has_its_exact_reply(service, body, wanted):
    assert await ask(service, "/run_code", body) == wanted


async def test_pytest_tells_by_its_return_code(service):
    passed = await ask(service, "/run_code", {"code": "def test_it():\n    assert 1", "language": "pytest"})
    assert (passed["status"], passed["run_result"]["return_code"]) == ("Success", 0)
    assert "1 passed" in passed["run_result"]["stdout"]
    failed = await ask(service, "/run_code", {"code": "def test_it():\n    assert 0", "language": "pytest"})
    assert (failed["status"], failed["run_result"]["return_code"]) == ("Failed", 1)
    assert "1 failed" in failed["run_result"]["stdout"]


async def test_files_go_in_and_come_out_in_base64_and_none_from_elsewhere(service):
    code = (
        "import os\nos.symlink('/etc/passwd', 'link')\nos.mkfifo('fifo')\n"
        "open('out.bin', 'wb').write(open('in/data.bin', 'rb').read()[::-1])"
    )
    body = {"code": code, "language": "python", "files": {"in/data.bin": encode(bytes(range(256))), "skipped": None}}
    fetched = ["out.bin", "missing", "link", "fifo"]
    reply = await ask(service, "/run_code", {**body, "fetch_files": fetched})
    assert reply["files"] == {"out.bin": encode(bytes(range(255, -1, -1)))}
    assert reply["status"] == "Success"
    assert "file link:" in reply["message"]
    assert "file fifo:" in reply["message"]
    assert "missing" not in reply["message"], "the original leaves out quietly what does not exist"
    refused = await ask(service, "/run_code", {**body, "fetch_files": ["../../etc/passwd"]})
    assert (refused["status"], refused["files"], refused["run_result"]) == ("SandboxError", {}, None)


async def test_a_file_larger_than_a_reply_may_be_is_left_out_and_said(service):
    code = "open('big', 'wb').truncate(17 << 20); open('small', 'w').write('x')"
    reply = await ask(service, "/run_code", {"code": code, "language": "python", "fetch_files": ["big", "small"]})
    assert reply["files"] == {"small": encode(b"x")}
    assert reply["message"] == "file big: File too large"


async def test_two_runs_share_nothing(service):
    write = "open('left', 'w').write('x')"
    read = "import os; print(sorted(os.listdir('.')))"
    assert (await ask(service, "/run_code", {"code": write, "language": "python"}))["status"] == "Success"
    seen = await ask(service, "/run_code", {"code": read, "language": "python"})
    assert seen["run_result"]["stdout"] == "[]\n"


# ---- /run_jupyter ----


def cell(**shown: object) -> dict:
    return {"stdout": "", "stderr": "", "display": [], "error": [], **shown}


async def test_cells_share_one_interpreter_and_one_that_raises_stops_itself_only(service):
    cells = [
        'a = "hello"',
        "a",
        "print(a)",
        'import sys\nsys.stderr.write("on stderr\\n")',
        "def fail():\n    raise RuntimeError('not today')\nfail()",
        "a + 1;",
        "class Shown:\n    def __repr__(self): return 'plain'\n    def _repr_html_(self): return '<b>rich</b>'\n"
        "display(Shown(), 1)\nNone",
        "1 +",
        "print(sorted(name for name in globals() if not name.startswith('__')))",
    ]
    reply = await ask(service, "/run_jupyter", {"cells": cells})
    trace = [
        "Traceback (most recent call last):",
        '  File "<cell 5>", line 3, in <module>',
        "    fail()",
        '  File "<cell 5>", line 2, in fail',
        "    raise RuntimeError('not today')",
        "RuntimeError: not today",
    ]
    wrong_type = reply["cells"].pop(5)["error"]
    no_syntax = reply["cells"].pop(6)["error"]
    assert [fault["ename"] for fault in wrong_type + no_syntax] == ["TypeError", "SyntaxError"]
    assert no_syntax[0]["traceback"][:2] == ['  File "<cell 8>", line 1', "    1 +"]
    assert reply == {
        "status": "Success",
        "message": "",
        "driver": {"status": "Finished", "execution_time": 0, "return_code": 0, "stdout": "", "stderr": ""},
        "cells": [
            cell(),
            cell(display=[{"text/plain": "'hello'"}]),
            cell(stdout="hello\n"),
            cell(stderr="on stderr\n", display=[{"text/plain": "10"}]),
            cell(error=[{"ename": "RuntimeError", "evalue": "not today", "traceback": trace}]),
            cell(display=[{"text/plain": "plain", "text/html": "<b>rich</b>"}, {"text/plain": "1"}]),
            cell(stdout="['Shown', '_', 'a', 'fail', 'sys']\n"),
        ],
        "executor_pod_name": None,
        "files": {},
    }


async def test_a_notebook_that_takes_too_long_or_ends_its_interpreter_failed(service):
    late = await ask(service, "/run_jupyter", {"cells": ["1", "while 1: pass"], "total_timeout": 2})
    driver = {"execution_time": 0, "stdout": "", "stderr": ""}
    assert late == {
        "status": "Failed",
        "message": "",
        "driver": {"status": "TimeLimitExceeded", "return_code": None, **driver},
        "cells": [],
        "executor_pod_name": None,
        "files": {},
    }
    died = await ask(service, "/run_jupyter", {"cells": ["import os", "os._exit(7)", "print('never')"]})
    assert (died["status"], died["message"], died["cells"]) == ("Failed", "cell 2 ended the interpreter", [])
    slow = await ask(service, "/run_jupyter", {"cells": ["while 1: pass"], "cell_timeout": 1, "total_timeout": 30})
    assert (slow["status"], slow["driver"]["status"]) == ("Failed", "TimeLimitExceeded")


async def test_a_notebook_that_prints_more_than_a_reply_may_hold_failed(service):
    loud = "import sys; sys.stdout.write('x' * 1000000);"
    reply = await ask(service, "/run_jupyter", {"cells": [loud] * 30})
    assert (reply["status"], reply["cells"]) == ("Failed", [])
    assert reply["message"] == "the program was stopped: it wrote more than it may"


async def test_files_of_a_notebook(service):
    body = {"cells": ["text = open('a.txt').read()", "open('b.txt', 'w').write(text * 2);"]}
    reply = await ask(service, "/run_jupyter", {**body, "files": {"a.txt": encode(b"x")}, "fetch_files": ["b.txt"]})
    assert (reply["status"], reply["files"]) == ("Success", {"b.txt": encode(b"xx")})
    assert reply["cells"] == [cell(), cell()]


@pytest.mark.parametrize(
    "written",
    [
        "'['*100000",
        "'{\"display\": 5}'",
        "'\\x00'",
        '\'{"display": [{"text/plain": NaN}], "error": []}\'',
        "'x' * (20 << 20)",
    ],
)
async def test_what_a_program_writes_in_place_of_what_it_shows_harms_only_itself(service, written):
    """The cell leaves a thread behind that overwrites the file in which its results lie."""
    source = (
        "import atexit, json\nclass Late:\n    def __repr__(self):\n"
        f"        json.dump = lambda told, file: file.write({written})\n        return 'x'\nLate()"
    )
    reply = await ask(service, "/run_jupyter", {"cells": [source, "print('goes on')"]})
    assert reply["status"] == "Success"
    assert reply["cells"][0] == cell()
    assert reply["cells"][1]["stdout"] == "goes on\n"


# ---- as verl does it ----


async def ask_as_verl_does(
    post: Callable[..., Awaitable[httpx.Response]],
    pause: Callable[[float], Awaitable[None]],
    *,
    code: str,
    stdin: str | None,
    timeout: float,
) -> tuple[dict | None, str | None]:
    """These eight fields and no other, no token; three attempts, of which only 504 leads to the next, after 1 and 2 s;
    every other status that is no success is final, and so is a reply that is no JSON."""
    fields = {
        "compile_timeout": timeout,
        "run_timeout": timeout,
        "code": code,
        "stdin": stdin,
        "memory_limit_MB": 1024,
        "language": "python",
        "files": {},
        "fetch_files": [],
    }
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    for attempt in range(3):
        async with asyncio.timeout(2 * timeout + 10):
            response = await post("/run_code", content=json.dumps(fields), headers=headers)
        if response.status_code == 504:
            if attempt < 2:
                await pause(attempt + 1)
            continue
        if response.status_code != 200:
            return None, f"API Request Error: {response.status_code}"
        return response.json(), None
    return None, "Gateway Timeout"


def score_as_verl_does(reply: dict | None, expected: str) -> bool | int:
    """True, False, or -1 the sandbox's fault, -2 the program's error, -3 its time."""
    if reply is None or reply["status"] == "SandboxError":
        return -1
    run = reply["run_result"]
    if reply["status"] == "Failed":
        return -3 if run["status"] == "TimeLimitExceeded" else -2
    assert (reply["status"], run["status"]) == ("Success", "Finished")
    return bool(run["stdout"].rstrip("\n") == expected.rstrip("\n"))


@pytest.mark.parametrize(
    ("code", "stdin", "score"),
    [
        ("print(int(input()) * 2)", "21", True),
        ("print(int(input()) * 3)", "21", False),
        ("print(int(input()) * 2)", None, -2),
        ("import sys; print(42); sys.exit(1)", "21", -2),
        ("while 1: pass", "21", -3),
    ],
)
async def test_verl_scores_a_program_as_it_ended(service, code, stdin, score):
    timeout = 1 if score == -3 else 20
    reply, error = await ask_as_verl_does(service.client.post, asyncio.sleep, code=code, stdin=stdin, timeout=timeout)
    assert error is None
    assert score_as_verl_does(reply, "42\n") == score


async def test_verl_asks_an_overloaded_service_again_and_gets_its_answer():
    async with open_service("wire-full", warm=1, most_containers=1, most_waiting=0) as service:
        workshop = service.provider.require_workshop()
        while not workshop.pool.ready:
            await asyncio.sleep(0.01)
        await workshop.run("x = 1", session="holds the only one")
        pauses: list[float] = []

        async def pause(seconds: float) -> None:
            pauses.append(seconds)

        asked = {"code": "print(7)", "stdin": None, "timeout": 20}
        reply, error = await ask_as_verl_does(service.client.post, pause, **asked)
        assert (reply, error, pauses) == (None, "Gateway Timeout", [1, 2])

        async def make_room(seconds: float) -> None:
            assert await workshop.end_session("default", "holds the only one")
            while not workshop.pool.ready:
                await asyncio.sleep(0.01)

        reply, error = await ask_as_verl_does(service.client.post, make_room, **asked)
        assert error is None
        assert score_as_verl_does(reply, "7") is True
    assert await list_left("wire-full") == []
