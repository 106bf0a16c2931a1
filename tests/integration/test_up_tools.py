"""`chanote up` with a tool service: it is started, started again, told where it is, and gone afterwards."""

import json
import os
import signal
import time

import httpx
import psutil
import pytest
from law_rows import write_corpus
from serving import Platform

pytestmark = pytest.mark.timeout(300)
PATIENCE_S = 120


def start(folder, prepared, corpus):
    limits = folder / "code.toml"
    limits.write_text(f'socket = "{folder / "no-engine.sock"}"\n')
    wanted = {"CHANOTE_SANDBOX_CORPUS": str(corpus), "CHANOTE_SANDBOX_PORT": "0"}
    return Platform(folder / "home", prepared=prepared, CHANOTE_SANDBOX_CODE_SETTINGS=str(limits), **wanted)


@pytest.fixture
def platform(prepared_home, tmp_path):
    started = start(tmp_path, prepared_home, write_corpus(tmp_path / "laws.jsonl"))
    yield started.start()
    started.stop()


def find_service(platform):
    """Address and headers of the service that the platform told its processes of."""
    told = json.loads((platform.home / "tools/service.json").read_text())
    token = (platform.home / "tools/token").read_text().strip().partition(":")[2]
    return told["address"], {"Authorization": f"Bearer {token}"}


def ask_until_it_answers(address, headers):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            answer = httpx.get(f"{address}/readyz", headers=headers, timeout=60, trust_env=False)
            if answer.status_code == 200:
                return answer.json()
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"no answer from {address}")


def find_processes(platform):
    """Processes of the platform's tool service, by the folder of its indexes."""
    index_folder = str(platform.home / "tools/indexes")
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if index_folder in (process.info["cmdline"] or ()):
            found.append(process)
    return found


def test_the_service_is_started_survives_its_death_and_leaves_nothing(platform):
    address, headers = find_service(platform)
    ready = ask_until_it_answers(address, headers)
    facts = [part["facts"] for part in ready["parts"].values() if part["facts"]]
    assert facts[0]["sections"] == 10
    assert httpx.get(f"{address}/readyz", timeout=60, trust_env=False).status_code == 401, "anybody may call the tools"
    assert (platform.home / "tools/token").stat().st_mode & 0o077 == 0
    (process,) = find_processes(platform)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(30)
    ask_until_it_answers(address, headers)
    assert platform.stop() == 0
    assert find_processes(platform) == []
    assert not (platform.home / "tools/service.json").exists()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{address}/livez", timeout=60, trust_env=False)
    said = "".join(platform.output)
    assert (
        f"The tool service is at {address}. Law tools work. Code tools answer “unavailable: no container engine" in said
    )


def test_a_corpus_that_the_service_refuses_does_not_stop_the_platform(prepared_home, tmp_path):
    broken = tmp_path / "laws.jsonl"
    broken.write_text('{"law_name": "Tax Code"}\n')
    platform = start(tmp_path, prepared_home, broken).start()
    try:
        deadline = time.monotonic() + PATIENCE_S
        while "The tool service ended with code 2" not in "".join(platform.output):
            assert time.monotonic() < deadline, "".join(platform.output)
            time.sleep(0.1)
        assert httpx.get(f"{platform.url}/livez", timeout=60, trust_env=False).status_code == 200
    finally:
        platform.stop()
    assert find_processes(platform) == []


def test_a_corpus_that_is_nothing_is_one_clear_sentence(prepared_home, tmp_path):
    platform = start(tmp_path, prepared_home, "nobody/laws@1")
    answer = platform.run("up", "--port", str(platform.port))
    assert answer.returncode == 5
    assert "CHANOTE_SANDBOX_CORPUS=nobody/laws@1 is neither a file nor a dataset version" in answer.stderr
