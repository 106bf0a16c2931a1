"""Rows that stand twice, letter for letter or nearly."""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy
from pydantic import Field

from chanote.checks.base import FINDING, Array, Check, Outcome, Part, Settings, register
from chanote.checks.block import Block
from chanote.checks.minhash import Clusters, SignatureFile, cluster, list_groups, sign_rows

SHOWN_CLUSTERS = 50
LARGEST_SHOWN = 10
"""Rows of a cluster that are listed."""
SHORTEST = 20
"""Letters below which only exact copies count: "yes" and "no" are no copies of each other, nor are "27" and "28"."""


class DuplicateSettings(Settings):
    threshold: float = Field(default=0.8, ge=0.5, le=1)
    """Similarity (Jaccard, of runs of five letters) from which two rows count as near copies."""


@register
class Duplicates(Check):
    name = "duplicates"
    version = 1
    title = "Duplicates"
    about = "Rows that repeat an earlier row, letter for letter or nearly, by MinHash over runs of five letters."
    finds = {
        "exact": "has the text of an earlier row",
        "near": "is nearly an earlier row",
        "repeated": "is the first of rows that repeat it",
    }
    facts = frozenset({"repeated"})
    settings_class = DuplicateSettings
    settings: DuplicateSettings

    def look(self, block: Block) -> Part:
        part = Part(rows=len(block.rows))
        exact = numpy.empty((part.rows, 2), dtype=numpy.uint64)
        for number, text in enumerate(block.texts):
            spelled = " ".join(unicodedata.normalize("NFC", text).split())
            digest = hashlib.blake2b(spelled.encode("utf-8", "surrogatepass"), digest_size=16).digest()
            exact[number] = numpy.frombuffer(digest, dtype=numpy.uint64)
        part.arrays = {
            "exact": exact,
            "signatures": sign_rows(block.folded),
            "long": numpy.array([len(letters) >= SHORTEST for letters in block.folded], dtype=bool),
        }
        return part

    def conclude(self, parts: Iterable[tuple[int, Part]], scratch: Path) -> Outcome:
        signatures = SignatureFile(scratch)
        exact, long = [], []
        for _, part in parts:
            exact.append(part.arrays["exact"])
            long.append(part.arrays["long"])
            signatures.add(part.arrays["signatures"])
        originals = _find_originals(numpy.concatenate(exact))
        copies = originals != numpy.arange(len(originals))
        clusters = Clusters(len(originals))
        cluster(signatures, numpy.concatenate(long) & ~copies, self.settings.threshold, clusters)
        roots = clusters.roots()[originals]
        return self._describe(roots, copies)

    def _describe(self, roots: Array, copies: Array) -> Outcome:
        outcome = Outcome()
        rows = numpy.flatnonzero(roots != numpy.arange(len(roots)))
        found = numpy.empty(len(rows), dtype=FINDING)
        found["row"], found["value"] = rows, roots[rows] + 1
        found["code"] = numpy.where(copies[rows], self.codes["exact"], self.codes["near"])
        firsts = numpy.unique(roots[rows])
        repeated = numpy.empty(len(firsts), dtype=FINDING)
        repeated["row"], repeated["value"], repeated["code"] = firsts, firsts + 1, self.codes["repeated"]
        together = numpy.concatenate([found, repeated])
        outcome.found.append(together[numpy.argsort(together["row"], kind="stable")])
        sizes: Counter[int] = Counter()
        largest = []
        for first, members in list_groups(roots):
            sizes[len(members)] += 1
            largest.append((len(members), first, members[:LARGEST_SHOWN]))
            if len(largest) > 4 * SHOWN_CLUSTERS:
                largest = sorted(largest, key=lambda one: (-one[0], one[1]))[:SHOWN_CLUSTERS]
        outcome.counts = {
            "exact": int(copies.sum()),
            "near": int(len(rows) - copies.sum()),
            "clusters": sizes.total(),
            "kept": int(len(roots) - len(rows)),
        }
        outcome.detail = {
            "clusters": [
                {"rows": size, "first": first + 1, "members": [int(one) + 1 for one in members]}
                for size, first, members in sorted(largest, key=lambda one: (-one[0], one[1]))[:SHOWN_CLUSTERS]
            ]
        }
        return outcome


def _find_originals(digests: Array) -> Array:
    """Of each row the first row with the same digest."""
    order = numpy.lexsort((numpy.arange(len(digests)), digests[:, 1], digests[:, 0]))
    ordered = digests[order]
    new = numpy.concatenate(([True], (ordered[1:] != ordered[:-1]).any(axis=1)))
    originals = numpy.empty(len(digests), dtype=numpy.int64)
    originals[order] = order[numpy.flatnonzero(new)][numpy.cumsum(new) - 1]
    return originals
