"""Ten minutes of good and hostile programs at once over HTTP: every good one right, memory flat, nothing left.

`make soak-sandbox` runs it and prints its figures; SOAK_SECONDS makes it shorter.
"""

import asyncio
import json
import os
import random
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from law_rows import write_corpus

from tests.private_engine import NoEngine, PrivateEngine, folder_of
from tests.sandbox_engine import IMAGE
from tests.sandbox_service import TOKENS, RunningService, headers_of, run_service

pytestmark = [pytest.mark.docker, pytest.mark.soak]

SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))
CONCURRENCY = 64
LEAK_BYTES = 48 << 20
"""More than this between the second tenth of the time and the last is no longer noise."""

HOSTILE = {
    "busy loop": ("while 1: pass", {"timeout"}),
    "sleep": ("import time; time.sleep(10**9)", {"timeout"}),
    "fork bomb": ("import os\nwhile 1:\n    try: os.fork()\n    except OSError: pass", {"timeout"}),
    "memory": ("x = bytearray(10**9)", {"oom"}),
    "disk": ("with open('/tmp/f', 'wb', 0) as f:\n    while True: f.write(bytes(65536))", {"disk_limit"}),
    "files": ("for n in range(10**6): open(f'/tmp/{n}', 'w').close()", {"disk_limit"}),
    "flood": ("while 1: print('x' * 1000)", {"output_limit"}),
    "crash": ("import ctypes; ctypes.string_at(0)", {"error"}),
    "daemon": (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(10**6)\nprint('gone')",
        {"ok"},
    ),
    "kill all": ("import os\nos.kill(-1, 9)", {"ok", "error"}),
    "threads": (
        "import threading\nstop = threading.Event()\n"
        "for _ in range(5000): threading.Thread(target=stop.wait, daemon=True).start()",
        {"pids_limit"},
    ),
    "recursion": ("def f(): f()\nf()", {"error"}),
    "network": ("import socket; socket.create_connection(('192.0.2.1', 80))", {"error"}),
}


@dataclass
class Figures:
    good: Counter[str] = field(default_factory=Counter)
    hostile: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    refusals: Counter[int] = field(default_factory=Counter)
    good_ms: list[float] = field(default_factory=list)
    """From the first asking to the answer: what was refused and asked again included."""
    accepted_ms: list[float] = field(default_factory=list)
    """Of single requests that were answered, the queue inside the service included."""
    law_ms: list[float] = field(default_factory=list)
    samples: list[dict[str, float]] = field(default_factory=list)


class Client:
    """One trajectory after another until the time is up."""

    def __init__(self, number: int, http: httpx.AsyncClient, figures: Figures, until: float) -> None:
        self.name = f"client-{number}"
        self.http, self.figures, self.until = http, figures, until
        self.random = random.Random(number)
        self.tenant = list(TOKENS)[number % len(TOKENS)]
        self.sessions = 0

    async def ask(self, tool: str, arguments: dict[str, object], session: str | None = None) -> dict:
        """One call to its end, as a client makes it: what is refused or was the sandbox's failure is asked again."""
        while True:
            began = time.monotonic()
            reply = await self.http.post(
                f"/v1/tools/{tool}", json={"arguments": arguments, "session": session}, headers=headers_of(self.tenant)
            )
            if reply.status_code in (429, 503):
                self.figures.refusals[reply.status_code] += 1
                await asyncio.sleep(float(reply.headers["Retry-After"]))
                continue
            assert reply.status_code == 200, reply.text
            result: dict = reply.json()["result"]
            if result["status"] != "infra_error":
                self.figures.accepted_ms.append((time.monotonic() - began) * 1e3)
                return result
            self.figures.refusals[0] += 1

    async def work(self) -> None:
        while time.monotonic() < self.until:
            kind = self.random.random()
            if kind < 0.35:
                await self.live_a_trajectory()
            elif kind < 0.55:
                await self.be_tested()
            elif kind < 0.7:
                await self.search()
            else:
                await self.attack()

    async def live_a_trajectory(self) -> None:
        self.sessions += 1
        session = f"{self.name}-{self.sessions}"
        secret, total = self.random.randrange(10**9), 0
        steps = [(f"x = {secret}\nprint(x)", f"{secret}\n")]
        for _ in range(self.random.randint(1, 4)):
            added = self.random.randrange(1000)
            total += added
            steps.append((f"x += {added}\nprint(x, sum(range({added})))", f"{secret + total} {sum(range(added))}\n"))
        for code, said in steps:
            began = time.monotonic()
            result = await self.ask("run_python", {"code": code}, session)
            self.keep_good(result, began, result["detail"]["stdout"] == said, code)
        ended = await self.http.delete(f"/v1/sessions/{session}", headers=headers_of(self.tenant))
        assert ended.status_code == 200, ended.text

    async def be_tested(self) -> None:
        added = self.random.randrange(1, 1000)
        right = self.random.random() < 0.5
        code = f"def f(x): return x {'+' if right else '-'} {added}"
        began = time.monotonic()
        result = await self.ask("run_tests", {"code": code, "tests": f"assert f(1) == {1 + added}"})
        self.keep_good(result, began, result["detail"]["passed"] == int(right), code)

    async def search(self) -> None:
        began = time.monotonic()
        result = await self.ask("search_law", {"query": "มาตรา 10 แห่งประมวลรัษฎากร"})
        self.figures.law_ms.append((time.monotonic() - began) * 1e3)
        self.figures.good[result["status"]] += 1
        if result["status"] != "ok" or result["hits"][0]["section_num"] != "10":
            self.figures.wrong.append(f"search: {result}")

    async def attack(self) -> None:
        name, (code, expected) = self.random.choice(list(HOSTILE.items()))
        result = await self.ask("run_python", {"code": code})
        self.figures.hostile[f"{name}: {result['status']}"] += 1
        if result["status"] not in expected:
            self.figures.wrong.append(f"{name}: {json.dumps(result)[:500]}")

    def keep_good(self, result: dict, began: float, right: bool, code: str) -> None:
        self.figures.good[result["status"]] += 1
        self.figures.good_ms.append((time.monotonic() - began) * 1e3)
        if result["status"] != "ok" or not right:
            self.figures.wrong.append(f"{code!r}: {json.dumps(result)[:500]}")


def read_available_bytes() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no MemAvailable")


async def watch(service: RunningService, engine: PrivateEngine, figures: Figures, until: float) -> None:
    began = time.monotonic()
    while time.monotonic() < until:
        processes = await asyncio.to_thread(engine.list_processes)
        figures.samples.append(
            {
                "at_s": round(time.monotonic() - began),
                "service_mib": service.rss_bytes() / 2**20,
                "host_available_mib": read_available_bytes() / 2**20,
                "engine_processes": len(processes),
                "answered": sum(figures.good.values()) + sum(figures.hostile.values()),
            }
        )
        await asyncio.sleep(min(10.0, SECONDS / 20))


def name_percentiles(values: list[float]) -> str:
    points = statistics.quantiles(values, n=100)
    return f"p50 {points[49]:.0f} ms, p95 {points[94]:.0f} ms, p99 {points[98]:.0f} ms ({len(values)} calls)"


def report(figures: Figures, seconds: float) -> str:
    every = max(1, len(figures.samples) // 15)
    lines = [
        f"{seconds:.0f} s at concurrency {CONCURRENCY}",
        f"good calls by status: {dict(figures.good)}; wrong: {len(figures.wrong)}",
        f"hostile calls: {dict(sorted(figures.hostile.items()))}",
        f"asked again: {figures.refusals[429]} times 429, {figures.refusals[503]} times 503, "
        f"{figures.refusals[0]} times infra_error",
        f"good code calls: {name_percentiles(figures.good_ms)}",
        f"requests that were answered: {name_percentiles(figures.accepted_ms)}",
        f"searches: {name_percentiles(figures.law_ms)}",
        *(json.dumps({name: round(value, 1) for name, value in each.items()}) for each in figures.samples[::every]),
    ]
    return "\n".join(lines)


async def soak(service: RunningService, engine: PrivateEngine) -> Figures:
    figures = Figures()
    limits = httpx.Limits(max_connections=CONCURRENCY)
    async with httpx.AsyncClient(base_url=service.url, trust_env=False, timeout=300, limits=limits) as http:
        assert (await http.get("/readyz", headers=headers_of("one"))).json()["status"] == "ready"
        began = time.monotonic()
        until = began + SECONDS
        clients = [Client(number, http, figures, until) for number in range(CONCURRENCY)]
        await asyncio.gather(watch(service, engine, figures, until), *(client.work() for client in clients))
        print("\n" + report(figures, time.monotonic() - began))
        async with asyncio.timeout(120):
            while True:
                facts = (await http.get("/readyz", headers=headers_of("one"))).json()["parts"]["CodeProvider"]["facts"]
                if facts["leased"] == 0 and facts["waiting"] == 0:
                    break
                await asyncio.sleep(0.2)
    return figures


def test_good_calls_stay_right_among_hostile_ones_and_nothing_grows(tmp_path):
    engine = PrivateEngine(folder_of(os.getpid()).with_name(f"{folder_of(os.getpid()).name}-s"))
    try:
        engine.start()
        engine.load_image(IMAGE)
    except NoEngine as reason:
        engine.remove()
        pytest.skip(str(reason))
    available_before = read_available_bytes()
    try:
        idle = set(engine.list_processes())
        settings = {"warm": 8, "most_containers": 48, "longest_wait_s": 30.0, "limits": {"wall_s": 20.0, "cpu_s": 3.0}}
        corpus = write_corpus(tmp_path / "laws.jsonl")
        with run_service(tmp_path, owner="soak", socket=engine.socket, corpus=corpus, **settings) as service:
            figures = asyncio.run(soak(service, engine))
            peak = service.rss_bytes("VmHWM") / 2**20
        left = engine.run_docker("ps", "--all", "--quiet").stdout.split()
        began = time.monotonic()
        while (shims := set(engine.list_processes()) - idle) and time.monotonic() - began < 60:
            time.sleep(0.1)
    finally:
        engine.remove()
    print(
        f"service: at most {peak:.0f} MiB; left: {len(left)} containers, {len(shims)} processes, {engine.list_left()}"
    )
    print(f"host memory available: {(read_available_bytes() - available_before) / 2**20:+.0f} MiB")
    assert figures.wrong == []
    assert sum(figures.good.values()) > 0
    assert figures.hostile
    assert (left, shims, engine.list_left()) == ([], set(), [])
    tenth = max(1, len(figures.samples) // 10)
    early = statistics.median(sample["service_mib"] for sample in figures.samples[tenth : 2 * tenth])
    late = statistics.median(sample["service_mib"] for sample in figures.samples[-tenth:])
    assert (late - early) * 2**20 < LEAK_BYTES, f"the service grew from {early:.0f} to {late:.0f} MiB"
