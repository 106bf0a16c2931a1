"""The index of one corpus on disk: built once per corpus hash, read memory-mapped, never pickled.

A folder holds the sections' texts, one `.npy` file per array, and `index.json` with what it was built from and the
SHA-256 of every file. It is written under another name and renamed when whole, so half an index is never read.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolsandbox.law.corpus import Section, hash_file, read_corpus
from toolsandbox.law.dense import Embedder
from toolsandbox.law.language import Language, guess_language, open_language
from toolsandbox.law.postings import K1, B, Postings, build_postings
from toolsandbox.law.terms import GRAM, gram_terms, word_terms
from toolsandbox.law.writing import normalise

FORMAT = 1
"""Rises when the same corpus would be indexed differently."""
SIGNALS = ("words", "grams")


@dataclass(frozen=True)
class LawIndex:
    corpus_hash: str
    language: Language
    sections: list[Section]
    words: Postings
    grams: Postings
    dense_DE: NDArray[np.float32] | None = None
    """Unit vectors of the sections' texts, E numbers each, where the corpus has an embedding model."""


def default_index_folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "chanote" / "law-indexes"


def open_index(
    corpus: Path, *, language: str | None = None, folder: Path | None = None, embedder: Embedder | None = None
) -> LawIndex:
    """The corpus' index, built first where there is none yet or where its files are not what was written."""
    corpus_hash = hash_file(corpus)
    folder = folder or default_index_folder()
    folder.mkdir(parents=True, exist_ok=True)
    if language is None:
        language = guess_language([section.text for section in read_corpus(corpus)[:2000]])
    spoken = open_language(language)
    settings = _settings(spoken, embedder)
    place = folder / f"{corpus_hash[:24]}-{_hash_settings(settings)[:12]}"
    if place.exists():
        try:
            return _load(place, corpus_hash, spoken, settings)
        except DamagedIndex:
            shutil.rmtree(place, ignore_errors=True)
    manifest = {"corpus": corpus_hash, "settings": settings}
    _build(read_corpus(corpus), manifest, spoken, place, embedder)
    return _load(place, corpus_hash, spoken, settings)


class DamagedIndex(Exception):
    """A file of the index is missing or not the one that was written."""


Settings = dict[str, str | int | float]


def _settings(language: Language, embedder: Embedder | None) -> Settings:
    return {
        "embeddings": embedder.model if embedder else "",
        "passage_prefix": embedder.passage_prefix if embedder else "",
        "format": FORMAT,
        "language": language.name,
        "words_by": language.words_by,
        "gram": GRAM,
        "k1": K1,
        "b": B,
        "byteorder": "little",
    }


def _hash_settings(settings: Settings) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _build(
    sections: list[Section],
    manifest: Mapping[str, object],
    language: Language,
    place: Path,
    embedder: Embedder | None,
) -> None:
    texts = [normalise(f"{section.law_name} {section.section_num} {section.text}") for section in sections]
    postings = {
        "words": build_postings([word_terms(text, language) for text in texts]),
        "grams": build_postings([gram_terms(text) for text in texts]),
    }
    partial = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    try:
        rows = [[section.law_name, section.section_num, section.text] for section in sections]
        (partial / "sections.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
        for signal, built in postings.items():
            for name in ("terms_T", "starts_T1", "docs_P", "weights_P"):
                np.save(partial / f"{signal}.{name}.npy", getattr(built, name), allow_pickle=False)
        if embedder is not None:
            dense_DE = embedder.embed_passages([f"{section.law_name} {section.text}" for section in sections])
            np.save(partial / "dense_DE.npy", dense_DE, allow_pickle=False)
        files = {file.name: hash_file(file) for file in sorted(partial.iterdir())}
        (partial / "index.json").write_text(json.dumps({**manifest, "files": files}, indent=1), encoding="utf-8")
        partial.chmod(0o755)
        try:
            partial.rename(place)
        except OSError:
            if not place.exists():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _load(place: Path, corpus_hash: str, language: Language, settings: Settings) -> LawIndex:
    try:
        manifest = json.loads((place / "index.json").read_text(encoding="utf-8"))
        if manifest["corpus"] != corpus_hash or manifest["settings"] != settings:
            raise DamagedIndex(place.name)
        for name, written in manifest["files"].items():
            if hash_file(place / name) != written:
                raise DamagedIndex(f"{place.name}/{name}")
        rows = json.loads((place / "sections.json").read_text(encoding="utf-8"))
        sections = [Section(*row) for row in rows]
        words, grams = (_load_postings(place, signal, len(sections)) for signal in SIGNALS)
        dense_DE = _map_array(place / "dense_DE.npy") if settings["embeddings"] else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedIndex(place.name) from error
    return LawIndex(corpus_hash, language, sections, words, grams, dense_DE)


def _load_postings(place: Path, signal: str, documents: int) -> Postings:
    names = ("terms_T", "starts_T1", "docs_P", "weights_P")
    return Postings(**{name: _map_array(place / f"{signal}.{name}.npy") for name in names}, documents=documents)


def _map_array(file: Path) -> NDArray[Any]:
    """A file's array in mapped memory, seen as a plain array: each slice of a `memmap` costs microseconds."""
    mapped: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False).view(np.ndarray)
    return mapped
