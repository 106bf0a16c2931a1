"""Boards frozen for good: what a paper or a decision may cite, and the forms in which it is carried away."""

import csv
import hashlib
import io
import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from django.db import transaction
from django.db.models import Max

from chanote import __version__
from chanote.audit.services import record
from chanote.boards.cleaning import Clean
from chanote.boards.models import Board, Snapshot
from chanote.boards.selectors import describe_board, read_board
from chanote.boards.services import BoardError
from chanote.boards.standings import METHODS
from chanote.boards.statistics.wording import word_number

COLUMNS = (
    "model",
    "estimate",
    "low",
    "high",
    "standard_error",
    "method",
    "items",
    "clusters",
    "failed_share",
    "letters",
)
JUDGED = (
    "judges",
    "calibration",
    "calibration_sentence",
    "corrected",
    "corrected_low",
    "corrected_high",
    "correction_method",
)
"""Columns of tasks that models judge; empty of others, and of boards that were frozen before there were such."""

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\u2212": r"$-$",
        "\u0394": r"$\Delta$",
        "\u00b1": r"$\pm$",
        "\u00a0": "~",
    }
)


def freeze_board(board: Board, *, reason: str = "", clean: Clean = Clean.ALL, actor: Any = None) -> Snapshot:
    """Keep the board as it stands, with verdicts, sentences and hashes. Raises BoardError while nothing is scored.

    `clean`: as the board is without items that are in training data.
    """
    content = read_board(board, clean=clean)
    if not content.tables:
        raise BoardError(f"board {board} holds no score yet; there is nothing to freeze")
    frozen = {
        "board": {"slug": board.slug, "title": board.title, "question": board.question, "baseline": content.baseline},
        "project": board.project.slug,
        "chanote": __version__,
        "methods": METHODS,
        "tables": describe_board(content),
        **_tell_clean(clean),
    }
    content_json = write_canonical(frozen)
    with transaction.atomic():
        Board.objects.select_for_update().get(pk=board.pk)
        last = Snapshot.objects.filter(board=board).aggregate(last=Max("number"))["last"] or 0
        snapshot = Snapshot(
            board=board,
            number=last + 1,
            reason=reason,
            packed=zlib.compress(content_json),
            sha256=hashlib.sha256(content_json).hexdigest(),
            created_by=actor,
        )
        snapshot.full_clean(exclude=["packed"])
        snapshot.save()
        detail: dict[str, Any] = {"sha256": snapshot.sha256, "reason": reason, **_tell_clean(clean)}
        record("board.frozen", snapshot, actor=actor, **detail)
    return snapshot


def _tell_clean(clean: Clean) -> dict[str, str]:
    return {"clean": clean.value} if clean else {}


def word_left_out(table: Mapping[str, Any]) -> str:
    """What a frozen table leaves out as not clean, in a sentence; empty where all items are in it."""
    told = table.get("clean")
    if not told:
        return ""
    if not told["checks"]:
        return "Contamination was not checked; nothing is left out."
    held = "question, answer, law or passage" if told["clean"] == Clean.SOURCES else "question or answer"
    gaps = [one["dataset"] for one in told["not_checked"] + told["data_gone"]]
    gaps += [f"data of {one['model']}" for one in told["data_unknown"]]
    rest = f" Not checked: {', '.join(gaps)}." if gaps else ""
    return f"{told['left_out']:,} of {told['items']:,} items are left out, whose {held} is in training data.{rest}"


def word_checked(told: Mapping[str, Any]) -> str:
    return "yes" if told["checked"] else "in part" if told["checks"] else "not checked"


def write_canonical(content: Mapping[str, Any]) -> bytes:
    """Keys sorted, no spaces, UTF-8."""
    return json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def word_citation(snapshot: Snapshot) -> str:
    return (
        f"Board \u201c{snapshot.content['board']['title']}\u201d of project {snapshot.content['project']}, snapshot "
        f"{snapshot.number}, {snapshot.created:%Y-%m-%d}, Chanote {snapshot.content['chanote']}, "
        f"sha-256 {snapshot.sha256}"
    )


def lay_out_tables(snapshot: Snapshot) -> list[tuple[dict[str, Any], list[tuple[Any, ...]], str, str]]:
    """Of each table its frozen values, its rows in words, its unit, and what was left out of it."""
    tables = []
    for table in snapshot.content["tables"]:
        scale = 100.0 if table["higher_is_better"] else 1.0
        rows = [(model, *word_model(model, scale)) for model in table["models"]]
        tables.append((table, rows, "%" if table["higher_is_better"] else "bits per byte", word_left_out(table)))
    return tables


def write_json(snapshot: Snapshot) -> bytes:
    """The canonical JSON itself: its SHA-256 is the snapshot's."""
    return zlib.decompress(bytes(snapshot.packed))


def write_csv(snapshot: Snapshot) -> bytes:
    """Unrounded estimates, a row for each model on each task."""
    text = io.StringIO()
    writer = csv.writer(text)
    clean = snapshot.content.get("clean", "")
    added = ["clean", "items_not_clean", "checked"] if clean else []
    names = ["task", "task_sha256", *COLUMNS, "rank_best", "rank_worst", "snapshot_sha256", *JUDGED, *added]
    writer.writerow(names)
    for table in snapshot.content["tables"]:
        told = table.get("clean")
        cleaned = [clean, told["left_out"], word_checked(told)] if told else []
        for model in table["models"]:
            rank = model["rank"] or ["", ""]
            row = [model[name] for name in COLUMNS]
            judging, correction = table.get("judging") or {}, model.get("corrected") or {}
            judged = [" ".join(judging.get("judges", [])), judging.get("state", ""), judging.get("sentence", "")]
            judged += [correction.get(name, "") for name in ("value", "low", "high", "method")]
            about = [table["task"], table["task_sha256"]]
            writer.writerow([*about, *row, *rank, snapshot.sha256, *judged, *cleaned])
    return text.getvalue().encode()


def write_latex(snapshot: Snapshot) -> bytes:
    """A `booktabs` table for each task; rounded to what the errors support, bold only where a model surely wins."""
    lines = [f"% {escape_latex(word_citation(snapshot))}", r"% \usepackage{booktabs}"]
    for table in snapshot.content["tables"]:
        judged = [table["judging"]["sentence"]] if table.get("judging") else []
        said = " ".join(filter(None, [*table["headline"], *judged, table["note"], word_left_out(table)]))
        unit = r"\%" if table["higher_is_better"] else "bits per byte"
        lines += [
            r"\begin{table}",
            r"\centering",
            r"\begin{tabular}{lrrrl}",
            r"\toprule",
            rf"Model & {escape_latex(table['task'])}, {unit} & 95\,\% interval & Rank & Tie \\",
            r"\midrule",
            *(_write_latex_row(model, 100.0 if table["higher_is_better"] else 1.0) for model in table["models"]),
            r"\bottomrule",
            r"\end{tabular}",
            rf"\caption{{{escape_latex(said)} Models that share a letter are "
            rf"not separated. Snapshot \texttt{{{snapshot.sha256[:12]}}}.}}",
            r"\end{table}",
            "",
        ]
    return "\n".join(lines).encode()


def _write_latex_row(model: Mapping[str, Any], scale: float) -> str:
    numbers = word_model(model, scale)
    value = rf"\textbf{{{escape_latex(numbers[0])}}}" if model["winner"] else escape_latex(numbers[0])
    interval = escape_latex(numbers[1]).replace("\u2013", "--")
    rank = numbers[2].replace("\u2013", "--")
    return rf"{escape_latex(model['model'])} & {value} & {interval} & {rank} & {model['letters']} \\"


def word_model(model: Mapping[str, Any], scale: float) -> tuple[str, str, str]:
    """Estimate, interval and rank of a frozen row in words."""
    mean, low, high = (model[name] for name in ("estimate", "low", "high"))
    error = model["standard_error"] or (None if low is None or high is None else (high - low) / 4)
    value = "none" if mean is None else word_number(mean, error, scale=scale)
    bounds = [] if low is None or high is None else [word_number(bound, error, scale=scale) for bound in (low, high)]
    rank = "\u2013".join(str(place) for place in dict.fromkeys(model["rank"] or []))
    return value, "\u2013".join(bounds), rank


def escape_latex(text: str) -> str:
    return text.translate(_LATEX)


EXPORTS: Mapping[str, tuple[str, Callable[[Snapshot], bytes]]] = {
    "csv": ("text/csv; charset=utf-8", write_csv),
    "json": ("application/json", write_json),
    "tex": ("application/x-tex; charset=utf-8", write_latex),
}
