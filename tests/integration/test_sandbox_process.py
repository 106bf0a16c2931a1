"""`python -m toolsandbox` as a process of its own: it serves, refuses with one sentence, and loads neither Django
nor torch."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from law_rows import write_corpus

from tests.sandbox_engine import IMAGE, SOCKET, why_no_engine
from toolsandbox.__main__ import open_socket

REPOSITORY = Path(__file__).resolve().parents[2]


def run(*words):
    ended = subprocess.run(
        [sys.executable, "-m", "toolsandbox", *map(str, words)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return ended.returncode, ended.stdout, ended.stderr


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path / "laws.jsonl")


def test_it_serves_until_it_is_told_to_stop(corpus, tmp_path):
    log = tmp_path / "log"
    words = ["serve", "--no-code", "--corpus", corpus, "--index-folder", tmp_path / "indexes", "--port", 0]
    with log.open("w") as file:
        service = subprocess.Popen([sys.executable, "-m", "toolsandbox", *map(str, words)], cwd=REPOSITORY, stderr=file)
    try:
        while not (begun := log.read_text()).endswith("\n"):
            assert service.poll() is None, begun
            time.sleep(0.02)
        address = json.loads(begun.splitlines()[0])
        with httpx.Client(base_url=f"http://127.0.0.1:{address['port']}", trust_env=False, timeout=120) as client:
            ready = client.get("/readyz").json()
            assert ready["status"] == "ready"
            assert ready["parts"]["LawTools"]["facts"]["sections"] == 10
            asked = {"arguments": {"query": "มาตรา 10 แห่งประมวลรัษฎากร"}}
            result = client.post("/v1/tools/search_law", json=asked).json()["result"]
            assert result["hits"][0]["section_num"] == "10"
        service.send_signal(signal.SIGTERM)
        service.wait(timeout=60)
    finally:
        service.kill()
        service.wait()
    err = log.read_text()
    assert json.loads(err.splitlines()[-1])["event"] == "stopped"
    (line,) = [json.loads(line) for line in err.splitlines() if '"event": "call"' in line]
    assert (line["tool"], line["status"]) == ("search_law", "ok")
    assert "มาตรา" not in err, "the log holds what a policy wrote"


def test_its_socket_sends_replies_without_delay():
    """Only a socket whose protocol is TCP by name gets TCP_NODELAY from asyncio."""
    with open_socket("127.0.0.1", 0) as bound:
        assert bound.proto == socket.IPPROTO_TCP
        with pytest.raises(ValueError, match="cannot listen on"):
            open_socket("127.0.0.1", bound.getsockname()[1])


def test_it_says_in_one_sentence_why_it_does_not_serve(corpus, tmp_path):
    corpus.write_text("not json\n")
    code, _, err = run("serve", "--no-code", "--corpus", corpus, "--index-folder", tmp_path, "--port", 0)
    assert code == 2
    assert err.splitlines()[-1].startswith("toolsandbox: laws.jsonl, line 1: not JSON in UTF-8")
    code, _, err = run("serve", "--no-code")
    assert (code, err) == (2, "toolsandbox: nothing to serve: give --corpus FILE.jsonl, or leave out --no-code\n")
    code, _, err = run("serve", "--no-code", "--corpus", corpus, "--host", "0.0.0.0")  # noqa: S104
    assert code == 2
    assert "give --token-file" in err
    code, _, err = run("serve", "--no-code", "--corpus", tmp_path / "missing.jsonl", "--port", 0)
    assert code == 2
    assert "missing.jsonl" in err.splitlines()[-1]


def test_the_selftest_tells_each_trial_in_a_line(corpus, tmp_path):
    code, out, err = run("selftest", "--no-code", "--corpus", corpus, "--index-folder", tmp_path / "indexes")
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0] == "law tools"
    assert re.fullmatch("  ok           corpus: 3 laws, 10 sections, hash [0-9a-f]{64}", lines[1])
    assert lines[2:] == [
        "  ok           read_law by citation: 1 sections",
        "  ok           search_law ranks the same twice: 1 queries",
        "3 ok, 0 failed, 0 unavailable",
    ]


def test_without_an_engine_the_selftest_says_so_and_the_law_tools_pass(corpus, tmp_path):
    settings = tmp_path / "code.toml"
    settings.write_text(f"socket = {json.dumps(str(tmp_path / 'none.sock'))}\n")
    words = ["--corpus", corpus, "--index-folder", tmp_path / "indexes", "--code-settings-file", settings]
    code, out, err = run("selftest", *words)
    assert code == 0, err
    lines = out.splitlines()
    assert lines[4] == "code tools"
    assert lines[5].startswith("  unavailable  container engine: no container engine at ")
    assert lines[6] == "3 ok, 0 failed, 1 unavailable"


def test_the_selftest_tries_the_code_tools(tmp_path):
    if reason := why_no_engine():
        pytest.skip(reason)
    settings = tmp_path / "code.toml"
    chosen = {"socket": str(SOCKET), "image": IMAGE, "owner": "test-selftest"}
    settings.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in chosen.items()))
    code, out, err = run("selftest", "--code-settings-file", settings)
    assert code == 0, out + err
    assert [line.split(":")[0].split(None, 1) for line in out.splitlines()[1:-1]] == [
        ["ok", "container engine"],
        ["ok", "image"],
        ["ok", "probe"],
        ["ok", "a program (tier A)"],
        ["ok", "a session keeps its variables"],
        ["ok", "tests pass a right program and fail one that exits"],
        ["ok", "a verifier is admitted only if it tells good from bad (tier B)"],
        ["ok", "an endless program is killed"],
    ]
    assert out.splitlines()[-1] == "8 ok, 0 failed, 0 unavailable"


def test_the_selftest_of_an_image_with_other_contents_does_not_pass(tmp_path):
    if reason := why_no_engine():
        pytest.skip(reason)
    settings = tmp_path / "code.toml"
    chosen = {"socket": str(SOCKET), "image": IMAGE, "owner": "test-selftest", "image_digest": "sha256:" + "0" * 64}
    settings.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in chosen.items()))
    _, out, _ = run("selftest", "--code-settings-file", settings)
    assert "unavailable  container engine: image" in out
    assert "not sha256:000" in out


def test_the_service_loads_neither_django_nor_torch():
    program = (
        "import sys, toolsandbox.service, toolsandbox.law.provider, toolsandbox.__main__\n"
        "print({'torch', 'django', 'transformers', 'chanote', 'trainer'} & set(sys.modules))\n"
    )
    answer = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"
    contract = "import sys, toolsandbox.contract; print({'starlette', 'numpy', 'uvicorn'} & set(sys.modules))"
    answer = subprocess.run(
        [sys.executable, "-c", contract], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "set()"
