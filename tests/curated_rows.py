"""Small datasets for tests of curation."""

import io
import json
from typing import Any

from chanote.datasets.models import DatasetVersion
from chanote.datasets.services import import_dataset

EVERY_POINT = ("origin", "personal", "overlap", "sample")


def take(
    project: Any, rows: list[dict[str, Any]], slug: str = "law", kind: str = "text", **given: Any
) -> DatasetVersion:
    """Import the rows as the next version of a dataset."""
    content = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()
    given = {"actor": None, **given}
    return import_dataset(project=project, slug=slug, kind=kind, file=io.BytesIO(content), format="jsonl", **given)


def sections(count: int) -> list[dict[str, Any]]:
    return [{"text": f"มาตรา {number} ว่าด้วยข้อ {number}", "section_num": str(number)} for number in range(1, count + 1)]
