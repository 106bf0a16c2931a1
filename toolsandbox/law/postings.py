"""BM25 over one kind of term, as flat arrays that are memory-mapped when read.

Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), equation 3.15 with the
idf of equation 3.3 kept positive as in Lucene: ln(1 + (N - n + 1/2) / (n + 1/2)).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

K1 = 1.2
B = 0.75
"""The values that the paper's section 3.5 and most engines use; none was fitted to any of our data."""

Terms = NDArray[np.uint64]


@dataclass(frozen=True)
class Postings:
    """T terms, sorted, and P postings: those of term t are at `starts_T1[t]` up to, not with, `starts_T1[t + 1]`."""

    terms_T: Terms
    starts_T1: NDArray[np.int64]
    docs_P: NDArray[np.int32]
    weights_P: NDArray[np.float32]
    documents: int

    def score(self, query: Terms) -> NDArray[np.float64]:
        """BM25 of every document, D numbers. A term that the query repeats counts as often as it is there.

        The sum runs in the order of the sorted terms, so the same query gives the same bits.
        """
        wanted_Q, counts_Q = np.unique(query, return_counts=True)
        places_Q = np.searchsorted(self.terms_T, wanted_Q)
        places_Q[places_Q == len(self.terms_T)] = 0
        known_Q = self.terms_T[places_Q] == wanted_Q if len(self.terms_T) else np.zeros(len(wanted_Q), bool)
        places_K, counts_K = places_Q[known_Q], counts_Q[known_Q]
        if not len(places_K):
            return np.zeros(self.documents)
        starts_K, ends_K = self.starts_T1[places_K], self.starts_T1[places_K + 1]
        # Copying slices one after another is faster than gathering their postings by index.
        spans = [slice(begin, end) for begin, end in zip(starts_K.tolist(), ends_K.tolist(), strict=True)]
        weights_P = np.concatenate([self.weights_P[span] for span in spans]).astype(np.float64)
        if counts_K.max() > 1:
            weights_P *= np.repeat(counts_K, ends_K - starts_K)
        docs_P = np.concatenate([self.docs_P[span] for span in spans])
        summed_D: NDArray[np.float64] = np.bincount(docs_P, weights=weights_P, minlength=self.documents).astype(
            np.float64, copy=False
        )
        return summed_D


def build_postings(documents: Sequence[Terms]) -> Postings:
    """Count, weigh and lay out the terms of D documents."""
    number = len(documents)
    lengths_D = np.array([len(terms) for terms in documents], dtype=np.float64)
    mean = float(lengths_D.mean()) or 1.0
    terms_P, docs_P, counts_P = [], [], []
    for document, terms in enumerate(documents):
        found, counts = np.unique(terms, return_counts=True)
        terms_P.append(found)
        docs_P.append(np.full(len(found), document, dtype=np.int32))
        counts_P.append(counts)
    all_terms_P = np.concatenate(terms_P)
    order_P = np.argsort(all_terms_P, kind="stable")
    sorted_P = all_terms_P[order_P]
    docs = np.concatenate(docs_P)[order_P]
    counts = np.concatenate(counts_P)[order_P].astype(np.float64)
    terms_T, first_T, frequency_T = np.unique(sorted_P, return_index=True, return_counts=True)
    idf_T = np.log1p((number - frequency_T + 0.5) / (frequency_T + 0.5))
    damped_P = counts * (K1 + 1) / (counts + K1 * (1 - B + B * lengths_D[docs] / mean))
    return Postings(
        terms_T=terms_T,
        starts_T1=np.append(first_T, len(sorted_P)).astype(np.int64),
        docs_P=docs,
        weights_P=(np.repeat(idf_T, frequency_T) * damped_P).astype(np.float32),
        documents=number,
    )


def rank_best(scores_D: NDArray[np.float64], depth: int) -> NDArray[np.int64]:
    """The `depth` best documents with a score above zero, best first; equal scores in the corpus' order."""
    found = np.flatnonzero(scores_D > 0)
    if len(found) > depth:
        scores = scores_D[found]
        least = np.partition(scores, len(found) - depth)[len(found) - depth]
        found = found[scores >= least]
    return found[np.argsort(-scores_D[found], kind="stable")][:depth]
