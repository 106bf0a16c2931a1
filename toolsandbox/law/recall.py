"""Recall of search against questions whose citations are known, with an interval over questions."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolsandbox.law.corpus import Section
from toolsandbox.law.postings import build_postings, rank_best
from toolsandbox.law.search import LawSearch
from toolsandbox.law.sections import read_section
from toolsandbox.law.terms import hash_word


@dataclass(frozen=True)
class Question:
    text: str
    gold: frozenset[tuple[str, object]]
    """Law name and section key."""


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


def measure_recall(search: LawSearch, questions: list[Question], *, depth: int) -> dict[str, float]:
    """Share of all gold citations among the first `depth` sections, its 95 % interval, and the baseline."""
    sections = search.index.sections
    found, asked = _count(questions, sections, lambda text: [place for place, _ in search.search(text, depth)])
    base_found, _ = _count(questions, sections, white_space_search(sections, depth))
    low, high = bootstrap_interval(found, asked)
    gained = bootstrap_interval(found - base_found, asked)
    return {
        "laws.recall_at_10": round(float(found.sum() / asked.sum()), 4),
        "laws.recall_at_10_low": round(low, 3),
        "laws.recall_at_10_high": round(high, 3),
        "laws.recall_at_10_baseline": round(float(base_found.sum() / asked.sum()), 4),
        "laws.recall_at_10_gain_low": round(gained[0], 3),
        "laws.recall_at_10_gain_high": round(gained[1], 3),
        "laws.gold": int(asked.sum()),
    }


def _count(
    questions: list[Question], sections: list[Section], search: Callable[[str], list[int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Gold citations found, and asked for, per question."""
    found = []
    for question in questions:
        top = {(sections[place].law_name, section_id(sections[place].section_num)) for place in search(question.text)}
        found.append(len(top & question.gold))
    return np.array(found), np.array([len(question.gold) for question in questions])


def bootstrap_interval(found: np.ndarray, asked: np.ndarray, *, draws: int = 10_000) -> tuple[float, float]:
    """95 % percentile interval of sum(found) / sum(asked), questions drawn anew with their citations (seed 0)."""
    places = np.random.default_rng(0).integers(0, len(asked), size=(draws, len(asked)))
    shares = found[places].sum(axis=1) / asked[places].sum(axis=1)
    low, high = np.quantile(shares, [0.025, 0.975])
    return float(low), float(high)


def white_space_search(sections: list[Section], depth: int) -> Callable[[str], list[int]]:
    """BM25 over what white space separates: what a search that knows no Thai does."""
    split = build_postings([_split_terms(section.text) for section in sections])
    return lambda text: [int(place) for place in rank_best(split.score(_split_terms(text)), depth)]


def _split_terms(text: str) -> np.ndarray:
    words = text.casefold().split()
    return np.fromiter((hash_word(word) for word in words), dtype=np.uint64, count=len(words))
