"""Datasets, sources and models for tests of rights."""

import hashlib
import io
import json
from datetime import timedelta
from typing import Any

from django.utils import timezone

from chanote.datasets.making import make_version
from chanote.datasets.models import DatasetVersion
from chanote.datasets.services import import_dataset
from chanote.models.models import Model, Origin
from chanote.recipes.models import Revision
from chanote.recipes.services import save_revision
from chanote.rights.exceptions import approve_exception, request_exception
from chanote.rights.models import ExceptionRequest, Source
from tests.run_rows import make_run, save_checkpoint

OPEN = ["train", "distil", "evaluate", "publish"]
TEXT = """# Kept: why this recipe is
base: ""
stages:
  - kind: cpt
    initialise: {context_length: 128}
    data:
      - {dataset: %s}  # kept too
    steps: 5
    batch_size: 2
    sequence_length: 64
"""


def make_source(project: Any, slug: str = "court", **facts: Any) -> Source:
    given = {"title": slug.title(), "uses": OPEN, "licence": "CC-BY-4.0", **facts}
    return Source.objects.create(project=project, slug=slug, **given)


def make_texts(project: Any, parts: list[tuple[Source | None, int]], *, slug: str = "mixed", **more: Any) -> Any:
    """A version of texts with so many rows from each source, one after the other."""
    rows = []
    for source, count in parts:
        for _ in range(count):
            number = len(rows) + 1
            rows.append(({"text": f"{slug}: section {number} of the law."}, source.pk if source else None))
    return make_version(
        project=project,
        slug=slug,
        kind="text",
        rows=rows,
        drawn_from=[],
        operation={"name": "import"},
        reason="",
        uses=more.pop("uses", OPEN),
        actor=None,
        **more,
    )


def import_texts(project: Any, actor: Any, *, slug: str = "rulings", count: int = 9, **given: Any) -> DatasetVersion:
    lines = "".join(json.dumps({"text": f"{slug} {number}"}) + "\n" for number in range(count))
    return import_dataset(
        project=project, slug=slug, kind="text", file=io.BytesIO(lines.encode()), format="jsonl", actor=actor, **given
    )


def write_text_recipe(project: Any, author: Any, dataset: str = "mixed", *, slug: str = "reads") -> Revision:
    return save_revision(project=project, slug=slug, yaml=TEXT % dataset, author=author)


def make_model(project: Any, slug: str, **fields: Any) -> Model:
    sha256 = hashlib.sha256(slug.encode()).hexdigest()
    return Model.objects.create(
        project=project, slug=slug, origin=Origin.DIRECTORY, location="/nowhere", sha256=sha256, **fields
    )


def train_model(project: Any, slug: str, *, on: DatasetVersion | None = None, number: int = 1, **run: Any) -> Model:
    """A model as a finished run leaves it: `base`, `teacher` and a version that it was trained on."""
    teacher, base = run.pop("teacher", None), run.pop("base", None)
    data = [{"dataset": on.reference}] if on else []
    stage: dict[str, Any] = {"kind": "opd" if teacher else "sft", "data": data, "held_out": []}
    snapshot: dict[str, Any] = {
        "recipe": {"base": base.slug if base else "", "stages": [stage]},
        "datasets": {on.reference: {"sha256": on.sha256, "rows": on.rows}} if on else {},
        "models": {},
        "tasks": {},
    }
    if teacher:
        stage["teacher"] = teacher.slug
        snapshot["models"] = {teacher.slug: {"sha256": teacher.sha256}}
    made = make_run(project, number=number, state="finished", snapshot=snapshot | run)
    made.base = base
    made.save()
    checkpoint = save_checkpoint(made, 5)
    model = make_model(project, slug, parent=base)
    model.origin = Origin.RUN
    model.save()
    checkpoint.model, checkpoint.sha256 = model, model.sha256
    checkpoint.save()
    return model


def approve(project: Any, subject: Any, use: str, *, asks: Any, decides: Any) -> ExceptionRequest:
    until = timezone.localdate() + timedelta(days=10)
    asked = request_exception(
        project=project, subject=subject, use=use, reason="For the study.", until=until, actor=asks
    )
    return approve_exception(asked, note="Agreed.", actor=decides)
