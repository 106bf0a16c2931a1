"""What the law tools do on this machine: start, searches per second, latency, and recall where gold is given.

The service runs as its own process and is asked over HTTP by another, as rollouts do. Queries are slices of the
corpus' own sections, 40 to 160 characters, from a fixed seed; a quarter of them carry a citation.
"""

import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from toolsandbox.law.corpus import Section
from toolsandbox.law.index import open_index
from toolsandbox.law.recall import measure_recall, read_questions
from toolsandbox.law.references import make_reference_questions
from toolsandbox.law.search import LawSearch
from toolsandbox.settings import ServiceSettings

CONNECTIONS = 2
"""As many as cores: with more, the latency is mostly the wait for the others."""
STARTED_WITHIN_S = 120.0
FEWEST_REFERENCES = 30


def bench_laws(settings: ServiceSettings, *, rulings: Path | None, seconds: float) -> dict[str, float]:
    """Flat figures, by name. Without an index folder, `laws.build_s` is the time of a first start's build."""
    assert settings.corpus is not None
    with tempfile.TemporaryDirectory() as temporary:
        folder = settings.index_folder or Path(temporary)
        begun = time.perf_counter()
        index = open_index(settings.corpus, language=settings.language, folder=folder)
        measured = {"laws.build_s": round(time.perf_counter() - begun, 2)}
        queries = make_queries(index.sections, number=2000)
        measured |= asyncio.run(_ask_service(settings, folder, queries, seconds))
        search = LawSearch(index)
        if rulings is not None:
            measured |= measure_recall(search, read_questions(rulings), depth=10, name="recall_at_10")
        measured |= measure_references(search)
    return measured


def measure_references(search: LawSearch, *, name: str = "references_at_10") -> dict[str, float]:
    """Recall of a corpus' own cross references; nothing where it has too few of them to say anything."""
    questions = make_reference_questions(search.index.sections)
    return measure_recall(search, questions, depth=10, name=name) if len(questions) >= FEWEST_REFERENCES else {}


def make_queries(sections: list[Section], *, number: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    queries = []
    for place in range(number):
        section = draw.choice(sections)
        length = draw.randint(40, 160)
        begin = draw.randrange(max(1, len(section.text) - length))
        words = section.text[begin : begin + length]
        queries.append(words if place % 4 else f"{section.law_name} {section.section_num} {words}")
    return queries


async def _ask_service(settings: ServiceSettings, folder: Path, queries: list[str], seconds: float) -> dict[str, float]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["serve", "--no-code", "--corpus", str(settings.corpus), "--index-folder", str(folder), "--port", str(port)]
    words += ["--language", settings.language] if settings.language else []
    begun = time.perf_counter()
    service = subprocess.Popen([sys.executable, "-m", "toolsandbox", *words], stderr=subprocess.DEVNULL, env=os.environ)
    try:
        await _wait_until_ready(port, service)
        started = time.perf_counter() - begun
        alone = await _load(port, queries, connections=1, seconds=seconds / 2)
        loaded = await _load(port, queries, connections=CONNECTIONS, seconds=seconds)
    finally:
        service.terminate()
        service.wait()
    return {
        "laws.start_s": round(started, 2),
        "laws.searches_per_s": round(len(loaded) / seconds, 1),
        "laws.p50_ms": round(_quantile(loaded, 0.5), 2),
        "laws.p95_ms": round(_quantile(loaded, 0.95), 2),
        "laws.p99_ms": round(_quantile(loaded, 0.99), 2),
        "laws.connections": CONNECTIONS,
        "laws.alone_p95_ms": round(_quantile(alone, 0.95), 2),
    }


async def _wait_until_ready(port: int, service: subprocess.Popen[bytes]) -> None:
    """Until `/readyz` answers. The port is open before the index is."""
    begun = time.perf_counter()
    while service.poll() is None and time.perf_counter() - begun < STARTED_WITHIN_S:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
            continue
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        status = await reader.readline()
        writer.close()
        if b" 200 " in status:
            return
    raise OSError("the service did not start")


async def _load(port: int, queries: list[str], *, connections: int, seconds: float) -> list[float]:
    """Milliseconds of every search that ended within the time."""
    until = time.perf_counter() + seconds

    async def ask(first: int) -> list[float]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        spent = []
        place = first
        while (begun := time.perf_counter()) < until:
            body = json.dumps({"arguments": {"query": queries[place % len(queries)], "top_k": 5}}).encode()
            head = f"POST /v1/tools/search_law HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            status, *headers = answer.decode("latin-1").lower().split("\r\n")
            length = next(int(header.split(":")[1]) for header in headers if header.startswith("content-length:"))
            await reader.readexactly(length)
            if " 200 " not in status:
                raise OSError(f"the service answered {status}")
            spent.append((time.perf_counter() - begun) * 1e3)
            place += connections
        writer.close()
        return spent

    return [one for spent in await asyncio.gather(*(ask(first) for first in range(connections))) for one in spent]


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
