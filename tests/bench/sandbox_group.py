"""Figures of the tool sandbox. Laws: the real Thai corpus over HTTP, and recall of the tax rulings' citations.

`laws.*_low` and `laws.*_high` are the ends of 95 % intervals over questions; `sandbox.*_low` and `sandbox.*_high` the
quartiles over rounds.
"""

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from tests.private_engine import NoEngine, PrivateEngine, folder_of
from toolsandbox.code.bench import bench_code
from toolsandbox.code.engine import EngineError
from toolsandbox.code.settings import CodeSettings
from toolsandbox.law.bench import bench_laws, measure_references
from toolsandbox.law.gesetze import write_corpus
from toolsandbox.law.index import open_index
from toolsandbox.law.search import LawSearch
from toolsandbox.settings import ServiceSettings

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED_DATA = Path(os.environ.get("SHARED_DATA") or REPOSITORY.parent / "shared/data").resolve()


def measure() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as temporary:
        corpus = Path(temporary) / "thai.jsonl"
        files = sorted((SHARED_DATA / "thai_law_sections").glob("*.jsonl"))
        corpus.write_bytes(b"".join(file.read_bytes() for file in files))
        rulings = SHARED_DATA / "nitibench_tax" / "nitibench_tax_50.jsonl"
        figures = bench_laws(ServiceSettings(corpus=corpus, language="th"), rulings=rulings, seconds=10.0)
        figures |= measure_german(Path(temporary))
    return figures | measure_code()


def measure_german(folder: Path) -> dict[str, float]:
    """Recall of the German codes' own cross references."""
    corpus = folder / "german.jsonl"
    write_corpus([SHARED_DATA / "german_law" / name for name in ("bgb.md", "gg.md")], corpus)
    search = LawSearch(open_index(corpus, language="de", folder=folder))
    return measure_references(search, name="german_references_at_10")


def measure_code() -> dict[str, float]:
    """Figures of the code tools, on an engine that is started for them unless SANDBOX_ENGINE_SOCKET names one; none,
    and the reason on standard error, where there can be no engine.
    """
    image = os.environ.get("SANDBOX_IMAGE", "chanote-sandbox:latest")
    try:
        if given := os.environ.get("SANDBOX_ENGINE_SOCKET"):
            return measure_on(Path(given), image)
        engine = PrivateEngine(folder_of(os.getpid()))
        try:
            engine.start()
            engine.load_image(image)
            return measure_on(engine.socket, image)
        finally:
            engine.remove()
    except (EngineError, NoEngine) as missing:
        print(f"sandbox.tier_a_ratio and sandbox.tier_b_ratio are not measured: {missing}", file=sys.stderr)
        return {}


def measure_on(socket: Path, image: str) -> dict[str, float]:
    cpus = float(os.cpu_count() or 1)
    return asyncio.run(bench_code(CodeSettings(socket=socket, image=image, owner="bench", batch_workers=8, cpus=cpus)))
