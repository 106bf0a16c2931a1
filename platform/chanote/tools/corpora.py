"""From a dataset version to the corpus file of the tool service: JSON lines with `law_name`, `section_num`, `text`.

Rows of one section are joined in their order, each text once: a section is the unit that a search finds and a reader
reads. The same version gives the same bytes, and so the same hash, on every machine.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from chanote.datasets.models import DatasetVersion, Kind, Use
from chanote.datasets.storage import StoreError, open_lines
from chanote.rights.rules import judge_version
from chanote.tools.endpoints import tools_home
from chanote.web.problems import Problem

LONGEST_SECTION = 4 << 20
"""Bytes of a line that the service takes."""


class CorpusRefused(ValueError):
    """The version is no corpus; `problem` says which row is in the way and what to do."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(frozen=True)
class CorpusFacts:
    sha256: str
    """Of the file's bytes, as the service tells it."""
    sections: int
    laws: int
    bytes: int


def list_sections(version: DatasetVersion) -> Iterator[bytes]:
    """Lines of the corpus file in the order in which sections first appear. Raises CorpusRefused."""
    if version.dataset.kind != Kind.TEXT:
        raise _refuse(
            f"{version.reference} holds {version.dataset.kind} rows; a corpus is a text dataset with law_name and "
            "section_num"
        )
    sections: dict[tuple[str, str], dict[str, None]] = {}
    try:
        for number, line in enumerate(open_lines(version), start=1):
            row = json.loads(line)
            law, section = (" ".join(str(row.get(name) or "").split()) for name in ("law_name", "section_num"))
            if not law or not section:
                missing = "law_name" if not law else "section_num"
                raise _refuse(
                    f"row {number} of {version.reference} has no {missing}; a corpus needs law_name and section_num "
                    "in every row, so import a version that has them"
                )
            sections.setdefault((law, section), {}).setdefault(row["text"])
    except StoreError as error:
        raise _refuse(str(error)) from error
    if not sections:
        raise _refuse(f"{version.reference} has no rows; choose another version")
    for (law, section), texts in sections.items():
        written = {"law_name": law, "section_num": section, "text": "\n".join(texts)}
        encoded = json.dumps(written, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        if len(encoded) > LONGEST_SECTION:
            raise _refuse(f"section {section} of {law} is longer than {LONGEST_SECTION >> 20} MiB; split it")
        yield encoded


@lru_cache(maxsize=64)
def _measure(version_id: int, sha256: str) -> CorpusFacts:
    version = DatasetVersion.objects.select_related("dataset").get(pk=version_id)
    digest, sections, size, laws = hashlib.sha256(), 0, 0, set()
    for line in list_sections(version):
        digest.update(line)
        sections, size = sections + 1, size + len(line)
        laws.add(json.loads(line)["law_name"])
    return CorpusFacts(digest.hexdigest(), sections, len(laws), size)


def measure_corpus(version: DatasetVersion) -> CorpusFacts:
    """Hash and size of the corpus file without writing it. Versions never change, so this is done once for each."""
    return _measure(version.pk, version.sha256)


def write_corpus(version: DatasetVersion, path: Path | None = None) -> Path:
    """Write the corpus file, by default into the platform's home under its hash. It appears whole or not at all.

    Raises CorpusRefused, also where the rights of the version forbid that agents read it.
    """
    if problems := check_corpus_rights(version):
        raise CorpusRefused(problems[0])
    if path is None:
        path = tools_home() / "corpora" / f"{measure_corpus(version).sha256}.jsonl"
        if path.is_file():
            return path
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            for line in list_sections(version):
                file.write(line)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def check_corpus_rights(version: DatasetVersion) -> list[Problem]:
    """What rights have against a corpus: agents that are trained or evaluated read it. A launch that trains asks for
    more."""
    return list(judge_version(version, Use.EVALUATE, field="corpus", measured=True).refusals)


def _refuse(sentence: str) -> CorpusRefused:
    return CorpusRefused(Problem("corpus", f"{sentence}."))
