"""What checks hold rows against: items of tasks, sources, tokenizers. Each gatherer gives JSON, and a name for it.

The name goes into the key of a result: another task, and the overlap is looked for anew.
"""

import contextlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from chanote.boards.models import Task
from chanote.checks.checkers.overlap import cite
from chanote.checks.folding import fold_for_comparing
from chanote.checks.parts import hash_json
from chanote.checks.task_index import EDITION, SHORTEST, IndexWriter, ItemText
from chanote.datasets.models import DatasetVersion, Kind
from chanote.datasets.storage import open_rows
from chanote.models.models import Model
from chanote.rights.models import SourceSpan
from trainer.contract.items import name_items

SOURCE_FIELDS = ("context", "passage", "document", "paragraph", "source_text")
"""Fields of an item that it rests on rather than asks."""
PLAIN_FIELDS = ("id", "language", "subject", "title", "article", "category", "law_name", "law_code", "section_num")
"""Fields that are neither question nor answer."""
MOST_TOKENIZERS = 4
KEPT_SECONDS = 14 * 86400
"""An index of tasks that was not used for so long is removed; it can be made again."""


@dataclass(frozen=True)
class Gathered:
    identity: str
    against: dict[str, Any]
    folder: str = ""


def gather_tasks(version: DatasetVersion) -> Gathered:
    """The newest version of every task of the project, those that ask this very dataset left out."""
    newest: dict[str, Task] = {}
    tasks = Task.objects.filter(project=version.project).select_related("dataset_version__dataset")
    for task in tasks.order_by("slug", "number"):
        newest[task.slug] = task
    own = [task for task in newest.values() if task.dataset_version.dataset_id == version.dataset_id]
    asked = [task for task in newest.values() if task.dataset_version.dataset_id != version.dataset_id]
    laws = _find_law_texts(version, asked)
    identity = hash_json(
        [
            EDITION,
            [[task.reference, task.sha256] for task in asked],
            [law.sha256 for law in laws],
            [task.reference for task in own],
        ]
    )
    folder = Path(settings.HOME) / "checks" / "tasks" / identity
    if (folder / "against.json").is_file():
        os.utime(folder)
    else:
        _build_index(asked, laws, [task.reference for task in own], folder)
        remove_old(folder.parent)
    return Gathered(identity, json.loads((folder / "against.json").read_bytes()), str(folder))


def _find_law_texts(version: DatasetVersion, tasks: Iterable[Task]) -> list[DatasetVersion]:
    """Newest versions of the project's texts of laws, where any item cites a law."""
    if not any(
        task.dataset_version.dataset.kind == Kind.PROMPTS and task.dataset_version.statistics.get("laws")
        for task in tasks
    ):
        return []
    newest: dict[int, DatasetVersion] = {}
    texts = DatasetVersion.objects.filter(dataset__project=version.project, dataset__kind=Kind.TEXT)
    for one in texts.select_related("dataset").order_by("dataset__slug", "number"):
        if one.statistics.get("laws"):
            newest[one.dataset_id] = one
    return list(newest.values())


def _build_index(tasks: list[Task], laws: list[DatasetVersion], left_out: list[str], folder: Path) -> None:
    """Written beside its place and moved there: another process may want the same index."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}")
    partial.mkdir()
    writer = IndexWriter()
    items: list[dict[str, Any]] = []
    cited: dict[str, list[int]] = {}
    rows_of: dict[int, list[int]] = {}
    told: list[dict[str, Any]] = []
    for task in tasks:
        asked = task.dataset_version
        if asked.pk not in rows_of:
            texts: list[ItemText] = []
            rows_of[asked.pk] = []
            for row in open_rows(asked):
                number = len(items)
                rows_of[asked.pk].append(number)
                of_item = list(read_item(number, row))
                question = " ".join(text.text for text in of_item if text.part == "question")
                items.append({"name": "", "told": len(fold_for_comparing(question)) >= SHORTEST})
                texts += of_item
                for citation in row.get("citations") or ():
                    cited.setdefault(cite(citation["law"], citation["section"]), []).append(number)
            writer.add_set(texts)
        rows = rows_of[asked.pk]
        spec = task.definition
        named = list(name_items(open_rows(asked), shown=spec.get("num_fewshot", 0), limit=spec.get("limit")))
        for place, name in named:
            items[rows[place]]["name"] = items[rows[place]]["name"] or f"{task.slug}: {name}"
        told.append(
            {
                "reference": task.reference,
                "sha256": task.sha256,
                "numbers": [rows[place] for place, _ in named],
                "names": [name for _, name in named],
            }
        )
    if cited:
        writer.add_set(_read_cited(laws, cited))
    counts = writer.write(partial)
    against = {"items": items, "tasks": told, "cited": cited, "left_out": left_out, "runs": counts.total()}
    (partial / "against.json").write_text(json.dumps(against, ensure_ascii=False), encoding="utf-8")
    try:
        partial.rename(folder)
    except OSError:
        for path in partial.iterdir():
            path.unlink()
        partial.rmdir()
        if not (folder / "against.json").is_file():
            raise


def remove_old(folder: Path) -> None:
    """Indexes that no check has used for long, and what was left of one that was broken off."""
    for one in folder.iterdir():
        # Another process may have removed it in the meantime.
        with contextlib.suppress(FileNotFoundError):
            if time.time() - one.stat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(one, ignore_errors=True)


def _read_cited(laws: Iterable[DatasetVersion], cited: dict[str, list[int]]) -> Iterator[ItemText]:
    for law in laws:
        for row in open_rows(law):
            if row.get("law_name") and row.get("section_num"):
                for number in cited.get(cite(row["law_name"], row["section_num"]), ()):
                    yield ItemText(number, "source", row["text"])


def read_item(number: int, row: dict[str, Any]) -> Iterator[ItemText]:
    """What an item asks, what answers it, and what it rests on."""
    messages = row.get("messages")
    if isinstance(messages, list):
        asked = [one.get("content") or "" for one in messages if one.get("role") == "user"]
        if asked:
            yield ItemText(number, "question", asked[-1])
        for one in messages:
            if one.get("role") == "assistant" and one.get("content"):
                yield ItemText(number, "answer", one["content"])
    for name, value in row.items():
        if not isinstance(value, str) or name in PLAIN_FIELDS:
            continue
        part = "source" if name in SOURCE_FIELDS else "question" if name in ("question", "text") else "answer"
        yield ItemText(number, part, value)


def gather_languages(version: DatasetVersion) -> Gathered:
    languages = [str(tag) for tag in version.dataset.languages]
    return Gathered(hash_json(languages), {"languages": languages})


def gather_tokenizers(version: DatasetVersion) -> Gathered:
    """Different tokenizers of the project's models, the newest models first."""
    try:
        import tokenizers
    except ImportError:
        return Gathered("none", {"tokenizers": [], "note": "The package tokenizers is not installed on this machine."})
    del tokenizers
    found: dict[str, dict[str, Any]] = {}
    for model in islice(Model.objects.filter(project=version.project).order_by("-created"), 50):
        path = Path(model.location) / "tokenizer.json"
        try:
            sha256 = hash_json(path.read_text(encoding="utf-8"))
        except OSError:
            continue
        if sha256 in found:
            found[sha256]["names"].append(model.slug)
        elif len(found) < MOST_TOKENIZERS:
            found[sha256] = {"path": str(path), "sha256": sha256, "names": [model.slug]}
    note = "" if found else "No model of the project has a file tokenizer.json."
    against = {"tokenizers": list(found.values()), "note": note}
    # Names are told, not computed with: a further model with the same tokenizer changes no figure.
    return Gathered(hash_json([sorted(found), note]), against)


def gather_sources(version: DatasetVersion) -> Gathered:
    """Spans with the licence of their source; rows without a source stand under the version's own licence."""
    today = timezone.localdate()
    spans: list[dict[str, Any]] = []
    place = 0

    known = SourceSpan.objects.filter(version=version).select_related("source").order_by("start")
    # Of a mixed version the flag comes from some source and says nothing of rows that have none.
    own_non_commercial = version.non_commercial and not known.exists()

    def add_own(stop: int) -> None:
        if place < stop:
            spans.append(
                {"source": version.reference, "licence": version.licence, "non_commercial": own_non_commercial,
                 "start": place, "stop": stop, "ended": ""}
            )  # fmt: skip

    for span in known:
        source = span.source
        add_own(span.start)
        ended = ""
        if source.withdrawn:
            ended = f"{source.slug} was withdrawn on {source.withdrawn:%Y-%m-%d}."
        elif source.expires and source.expires < today:
            ended = f"The consent for {source.slug} ran out on {source.expires}."
        spans.append(
            {"source": source.slug, "licence": source.licence, "non_commercial": source.non_commercial,
             "start": span.start, "stop": span.stop, "ended": ended}
        )  # fmt: skip
        place = span.stop
    add_own(version.rows)
    merged = version.drawn_from.exclude(dataset=version.dataset).count() > 1
    against = {"spans": spans, "non_commercial": version.non_commercial, "merged": merged}
    return Gathered(hash_json(against), against)


GATHERERS: dict[str, Callable[[DatasetVersion], Gathered]] = {
    "tasks": gather_tasks,
    "languages": gather_languages,
    "tokenizers": gather_tokenizers,
    "sources": gather_sources,
}
"""Need of a check → what meets it."""
