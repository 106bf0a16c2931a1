"""Figures of the tool sandbox. Laws: the real Thai corpus over HTTP, and recall of the tax rulings' citations.

`laws.*_low` and `laws.*_high` are the ends of 95 % intervals over questions.
"""

import os
import tempfile
from pathlib import Path

from toolsandbox.law.bench import bench_laws
from toolsandbox.settings import ServiceSettings

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED_DATA = Path(os.environ.get("SHARED_DATA") or REPOSITORY.parent / "shared/data").resolve()


def measure() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as temporary:
        corpus = Path(temporary) / "thai.jsonl"
        files = sorted((SHARED_DATA / "thai_law_sections").glob("*.jsonl"))
        corpus.write_bytes(b"".join(file.read_bytes() for file in files))
        rulings = SHARED_DATA / "nitibench_tax" / "nitibench_tax_50.jsonl"
        return bench_laws(ServiceSettings(corpus=corpus, language="th"), rulings=rulings, seconds=10.0)
