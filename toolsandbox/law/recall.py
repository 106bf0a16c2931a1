"""Recall of search against questions whose citations are known, with an interval over questions."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolsandbox.law.corpus import Section
from toolsandbox.law.postings import Terms, build_postings, rank_best
from toolsandbox.law.search import LawSearch
from toolsandbox.law.sections import read_section
from toolsandbox.law.terms import gram_terms, hash_word, word_terms
from toolsandbox.law.writing import normalise


@dataclass(frozen=True)
class Question:
    text: str
    gold: frozenset[tuple[str, object]]
    """Law name and section key."""
    source: tuple[str, object] | None = None
    """The section that the question was taken from; it takes no place among the first."""


def read_questions(path: Path) -> list[Question]:
    """JSON lines with `question` and `relevant_laws`, a list of `law` and `sections`."""
    questions = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        gold = frozenset((cited["law"], section_id(cited["sections"])) for cited in row["relevant_laws"])
        questions.append(Question(row["question"], gold))
    return questions


def section_id(section_num: str) -> object:
    return read_section(section_num) or section_num


Find = Callable[[str], Iterable[int]]
"""Places in the corpus for a text, best first."""


def measure_recall(search: LawSearch, questions: list[Question], *, depth: int, name: str) -> dict[str, float]:
    """Share of all gold citations among the first `depth` sections, its 95 % interval, and what simpler searches find.

    Figures are called `laws.<name>...`; `_baseline` is BM25 over white space, `_words` and `_grams` are single signals.
    """
    index = search.index
    searches: dict[str, Find] = {
        "": lambda text: (place for place, _ in search.search(text, depth + 1)),
        "_words": lambda text: rank_best(index.words.score(word_terms(normalise(text), index.language)), depth + 1),
        "_grams": lambda text: rank_best(index.grams.score(gram_terms(normalise(text))), depth + 1),
        "_baseline": white_space_search(index.sections, depth + 1),
    }
    asked = np.array([len(question.gold) for question in questions])
    found = {of: _count_found(questions, index.sections, find, depth) for of, find in searches.items()}
    low, high = bootstrap_interval(found[""], asked)
    gain_low, gain_high = bootstrap_interval(found[""] - found["_baseline"], asked)
    return {
        **{f"laws.{name}{of}": round(float(hits.sum() / asked.sum()), 4) for of, hits in found.items()},
        f"laws.{name}_low": round(low, 3),
        f"laws.{name}_high": round(high, 3),
        f"laws.{name}_gain_low": round(gain_low, 3),
        f"laws.{name}_gain_high": round(gain_high, 3),
        f"laws.{name}_questions": len(questions),
        f"laws.{name}_gold": int(asked.sum()),
    }


def _count_found(questions: list[Question], sections: list[Section], find: Find, depth: int) -> NDArray[np.int64]:
    """Gold citations among the first `depth` sections, per question. Its own source takes no place."""
    counts = []
    for question in questions:
        places = (sections[place] for place in find(question.text))
        ranked = [(section.law_name, section_id(section.section_num)) for section in places]
        counts.append(len(question.gold.intersection([one for one in ranked if one != question.source][:depth])))
    return np.array(counts)


def bootstrap_interval(
    found: NDArray[np.int64], asked: NDArray[np.int64], *, draws: int = 10_000
) -> tuple[float, float]:
    """95 % percentile interval of sum(found) / sum(asked), questions drawn anew with their citations (seed 0)."""
    places = np.random.default_rng(0).integers(0, len(asked), size=(draws, len(asked)))
    shares = found[places].sum(axis=1) / asked[places].sum(axis=1)
    low, high = np.quantile(shares, [0.025, 0.975])
    return float(low), float(high)


def white_space_search(sections: list[Section], depth: int) -> Find:
    """BM25 over what white space separates: what a search that knows no Thai does."""
    split = build_postings([_split_terms(section.text) for section in sections])
    return lambda text: rank_best(split.score(_split_terms(text)), depth)


def _split_terms(text: str) -> Terms:
    words = text.casefold().split()
    return np.fromiter((hash_word(word) for word in words), dtype=np.uint64, count=len(words))
