"""Search: sections that the query cites come first, then the ranks by words and by character n-grams, fused.

Reciprocal rank fusion: Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion Outperforms Condorcet and Individual
Rank Learning Methods" (SIGIR 2009): a document scores the sum over rankings of 1 / (60 + rank).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from toolsandbox.law.citations import find_citations
from toolsandbox.law.index import LawIndex
from toolsandbox.law.names import LawNames
from toolsandbox.law.postings import rank_best
from toolsandbox.law.sections import SectionKey, read_section
from toolsandbox.law.terms import gram_terms, word_terms
from toolsandbox.law.writing import normalise

FUSION = 60
"""The paper's constant."""
DEPTH = 100
"""Ranks of each signal that take part, at least as many as are asked for."""
MAX_QUERY_CHARACTERS = 20_000

Embed = Callable[[str], NDArray[np.float32]]


class LawSearch:
    """Searches one index. Holds no state that a query changes: the same query always gets the same ranking."""

    def __init__(self, index: LawIndex, *, embed: Embed | None = None) -> None:
        self.index = index
        self._embed = embed
        laws = list(dict.fromkeys(section.law_name for section in index.sections))
        self.names = LawNames(laws, index.language)
        numbers = {law: number for number, law in enumerate(laws)}
        self._cited: dict[tuple[int, SectionKey], int] = {}
        for place, section in enumerate(index.sections):
            key = read_section(section.section_num)
            if key is not None:
                self._cited.setdefault((numbers[section.law_name], key), place)

    def search(self, query: str, top_k: int) -> list[tuple[int, float]]:
        """Places in the corpus with scores, best first. Equal scores come in the corpus' order."""
        # Some characters stand for many: what they become is limited as well.
        normalised = normalise(query[:MAX_QUERY_CHARACTERS])[:MAX_QUERY_CHARACTERS]
        depth = max(DEPTH, top_k)
        rankings = [
            rank_best(self.index.words.score(word_terms(normalised, self.index.language)), depth),
            rank_best(self.index.grams.score(gram_terms(normalised)), depth),
        ]
        if self._embed is not None and self.index.dense_DE is not None:
            likeness_D = (self.index.dense_DE @ self._embed(query)).astype(np.float64)
            rankings.append(rank_best(likeness_D, depth))
        fused_D = np.zeros(len(self.index.sections))
        for ranking in rankings:
            fused_D[ranking] += 1.0 / (FUSION + 1 + np.arange(len(ranking)))
        cited = [
            self._cited[citation] for citation in find_citations(normalised, self.names) if citation in self._cited
        ]
        if cited:
            # Above all that fusion can reach, the first cited first.
            fused_D[cited] += 1.0 + np.arange(len(cited), 0, -1)
        return [(int(place), float(fused_D[place])) for place in rank_best(fused_D, top_k)]
