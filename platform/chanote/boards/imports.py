"""Result files of other harnesses onto a board: read, kept byte for byte, never twice."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.db.models import Count, Max, QuerySet

from chanote.accounts.models import Project
from chanote.audit.services import record
from chanote.boards.importing import ImportedItem, ImportedResult, NotReadable, read_results
from chanote.boards.models import Board, Evaluation, ImportedFile, Sample, Task
from chanote.boards.scores import keep_scores, sort_answers
from chanote.boards.services import BATCH, BoardError, hash_content
from chanote.boards.statistics.clustered import standard_error
from chanote.models.models import Model, Origin

MOST_BYTES = 256 * 2**20
AGREE = 1e-6
"""How near the harness's own mean and standard error must come out again."""


@transaction.atomic
def import_results(
    *,
    board: Board,
    name: str,
    data: bytes,
    beside: bytes | None = None,
    model: str = "",
    actor: Any = None,
) -> ImportedFile:
    """Put a result file on the board, whole or not at all; the same file again changes nothing but the board.

    `model`: what the model is called here; else as the file names it. Raises BoardError with a sentence.
    """
    if len(data) > MOST_BYTES:
        raise BoardError(f"{name} is larger than {MOST_BYTES // 2**20} MB; split it by task")
    sha256 = hashlib.sha256(data).hexdigest()
    # Serialises imports onto one board, so that the same file cannot be stored twice at once.
    Board.objects.select_for_update().get(pk=board.pk)
    known = ImportedFile.objects.filter(project=board.project, sha256=sha256).first()
    if known is not None:
        for evaluation in known.evaluations.exclude(boards=board).select_related("model"):
            evaluation.boards.add(board)
            record("board.evaluation_added", board, actor=actor, evaluation=evaluation.pk, model=evaluation.model.slug)
        return known
    try:
        format_, parsed = read_results(name, data, beside)
    except NotReadable as error:
        raise BoardError(f"{name} cannot be imported: {error}") from error
    results, skipped = _drop_other_scales(parsed.results, parsed.skipped)
    if not results:
        raise BoardError(f"{name} cannot be imported: {skipped[0]}")
    file = ImportedFile.objects.create(
        project=board.project,
        sha256=sha256,
        name=Path(name).name[:200],
        format=format_,
        bytes=len(data),
        skipped=skipped,
        notes=[note for result in results for note in compare_reported(result)],
        created_by=actor,
    )
    for result in results:
        _store(result, file, board, _find_model(board, model or result.model, name, actor), actor)
    keep_bytes(sha256, data)
    record("results.imported", file, actor=actor, sha256=sha256, format=format_, skipped=len(skipped))
    return file


def import_upload(
    *, board: Board, file: UploadedFile, beside: UploadedFile | None = None, model: str = "", actor: Any = None
) -> ImportedFile:
    """The same with files of a request, which are not read where they are too large."""
    for one in (file, beside):
        if one is not None and (one.size or 0) > MOST_BYTES:
            raise BoardError(f"{one.name} is larger than {MOST_BYTES // 2**20} MB; split it by task")
    data, told = file.read(), beside.read() if beside else None
    return import_results(board=board, name=file.name or "", data=data, beside=told, model=model, actor=actor)


def file_path(sha256: str) -> Path:
    return Path(settings.HOME) / "imported-results" / sha256[:2] / sha256


def list_imported(project: Project) -> QuerySet[ImportedFile]:
    """Files of the project, the newest first, each with how many scores came of it."""
    files = ImportedFile.objects.filter(project=project).select_related("created_by")
    return files.annotate(scores=Count("evaluations")).order_by("-created", "-pk")


def compare_reported(result: ImportedResult) -> list[str]:
    """Do the file's items give the mean and standard error that the harness states? A sentence each."""
    values = np.array([item.score or 0.0 for item in result.items if item.status != "left_out"])
    ours = {
        "mean": float(values.mean()) if values.size else None,
        "standard error": standard_error(values, np.arange(values.size)) if values.size > 1 else None,
    }
    notes = []
    for what, told in (("mean", result.reported_mean), ("standard error", result.reported_error)):
        here = ours[what]
        if told is None or here is None:
            continue
        same = abs(told - here) <= AGREE
        named = f"{result.task}, {result.metric}: {what}"
        notes.append(
            f"{named} {here:.6f}, as the harness states it."
            if same
            else f"{named} is {here:.6f} from the items, but the harness states {told:.6f}."
        )
    return notes


def _drop_other_scales(results: Iterable[ImportedResult], skipped: list[str]) -> tuple[list[ImportedResult], list[str]]:
    """Boards compare scores from 0 to 1; a metric on another scale is told and left out."""
    kept = []
    told = list(skipped)
    for result in results:
        odd = [item.score for item in result.items if item.score is not None and not 0 <= item.score <= 1]
        if odd:
            told.append(f"{result.metric}: scores such as {odd[0]:g} do not lie between 0 and 1")
        else:
            kept.append(result)
    return kept, told


def _find_model(board: Board, name: str, file: str, actor: Any) -> Model:
    if not name:
        raise BoardError(f"{file} does not name its model; say what it is called here")
    slug = slugify(name, 120)
    found = Model.objects.filter(project=board.project, slug=slug).first()
    if found is not None:
        return found
    made = Model.objects.create(
        project=board.project,
        slug=slug,
        origin=Origin.HUB,
        location=name[:1000],
        sha256="",
        description="Known by imported results only; its files are not here.",
        created_by=actor,
    )
    record("model.registered", made, actor=actor, imported=True)
    return made


def _find_task(result: ImportedResult, file: ImportedFile, actor: Any) -> Task:
    slug = slugify(f"{result.task}-{result.metric}", 80)
    told = {key: value for key, value in result.settings.items() if value is not None}
    identity = {"format": file.format, "task": result.task, "metric": result.metric, **told}
    sha256 = hash_content(identity)
    same_name = Task.objects.filter(project=file.project, slug=slug)
    known = same_name.filter(sha256=sha256).first()
    if known is not None:
        return known
    shots = told.get("shots")
    definition: dict[str, Any] = {
        "task": slug,
        "title": f"{result.task}, {result.metric}",
        "dataset": "",
        "output_type": "imported",
        "doc_to_text": "",
        "doc_to_target": "",
        "num_fewshot": shots if isinstance(shots, int) else 0,
        "metric": result.metric,
        "generation_kwargs": {"temperature": 0.0, "max_gen_toks": 0},
        "x_stats": {"cluster": "", "chance": 0.0, "equivalence_margin": 0.02},
        "x_language": "",
        "imported": identity,
    }
    task = Task.objects.create(
        project=file.project,
        slug=slug,
        number=(same_name.aggregate(last=Max("number"))["last"] or 0) + 1,
        title=definition["title"],
        definition=definition,
        sha256=sha256,
        created_by=actor,
    )
    record("task.frozen", task, actor=actor, sha256=sha256, imported=True)
    return task


def _store(result: ImportedResult, file: ImportedFile, board: Board, model: Model, actor: Any) -> None:
    counted = [item for item in result.items if item.status != "left_out"]
    evaluation = Evaluation(
        project=board.project,
        task=_find_task(result, file, actor),
        model=model,
        settings_sha256=hash_content({**result.settings, "decoding": result.decoding, "program": result.program}),
        harness=f"{result.settings.get('harness', file.format)} {result.program}".strip()[:40],
        samples_sha256=hashlib.sha256(f"{file.sha256} {result.task} {result.metric}".encode()).hexdigest(),
        samples_path=str(file_path(file.sha256)),
        count=len(counted),
        failed=sum(item.status != "ok" for item in counted),
        left_out=len(result.items) - len(counted),
        mean=sum(item.score or 0.0 for item in counted) / len(counted) if counted else None,
        imported_from=file,
    )
    keep_scores(evaluation, sort_answers((_name(one), one.cluster, one.score, one.status) for one in result.items))
    evaluation.save()
    evaluation.boards.add(board)
    samples = [_make_sample(evaluation, item) for item in result.items]
    Sample.objects.bulk_create(samples, batch_size=BATCH)
    record("evaluation.imported", evaluation, actor=actor, samples_sha256=evaluation.samples_sha256)


def _make_sample(evaluation: Evaluation, item: ImportedItem) -> Sample:
    return Sample(
        evaluation=evaluation,
        item=_name(item),
        cluster=item.cluster[:200],
        prompt=item.prompt,
        output=item.output,
        target=item.target,
        score=item.score,
        status=item.status,
        detail=item.detail,
    )


def _name(item: ImportedItem) -> str:
    """Item names have 120 characters; a longer one is named by its hash, the same for every model."""
    return item.item if len(item.item) <= 120 else hashlib.sha256(item.item.encode()).hexdigest()


def keep_bytes(sha256: str, data: bytes) -> None:
    path = file_path(sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        partial = path.with_suffix(".partial")
        partial.write_bytes(data)
        partial.replace(path)


def slugify(text: str, length: int) -> str:
    """Lower-case letters, digits, - and _, beginning with a letter or digit."""
    found = re.sub(r"[^a-z0-9_]+", "-", text.lower()).strip("-_")
    return found[:length].rstrip("-_") or "unnamed"
