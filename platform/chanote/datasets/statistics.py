"""What is known of the rows of a version, gathered while they are imported."""

import math
from collections import Counter
from typing import Any

from chanote.datasets.kinds import RowModel

BUFFER = 1 << 20
"""Characters gathered before their scripts are counted."""
MOST_NAMES = 10_000
"""Distinct names of laws kept apart; beyond, the count is a lower bound."""
STEPS = 4
"""Histogram bins per doubling of the length."""

BLOCKS = (
    ("Latin", ((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x24F), (0x1E00, 0x1EFF))),
    ("Greek", ((0x370, 0x3FF),)),
    ("Cyrillic", ((0x400, 0x52F),)),
    ("Hebrew", ((0x590, 0x5FF),)),
    ("Arabic", ((0x600, 0x6FF), (0x750, 0x77F))),
    ("Devanagari", ((0x900, 0x97F),)),
    ("Thai", ((0xE00, 0xE7F),)),
    ("Lao", ((0xE80, 0xEFF),)),
    ("Burmese", ((0x1000, 0x109F),)),
    ("Khmer", ((0x1780, 0x17FF),)),
    ("Kana", ((0x3040, 0x30FF),)),
    ("Han", ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0x20000, 0x2FA1F))),
    ("Hangul", ((0x1100, 0x11FF), (0xAC00, 0xD7AF))),
)
"""Scripts by the code points of their letters. Digits, punctuation and spaces belong to none."""
EDGES = sorted((edge, name) for name, spans in BLOCKS for edge in spans)


class RowStatistics:
    """Counts over rows in one pass and bounded memory."""

    def __init__(self) -> None:
        self._rows = 0
        self._characters = 0
        self._shortest = math.inf
        self._longest = 0
        self._bins: Counter[int] = Counter()
        self._scripts: Counter[str] = Counter()
        self._languages: Counter[str] = Counter()
        self._laws: set[str] = set()
        self._turns = 0
        self._waiting: list[str] = []
        self._waiting_characters = 0

    def add(self, row: RowModel) -> None:
        texts = list(row.texts())
        length = sum(map(len, texts))
        self._rows += 1
        self._characters += length
        self._shortest = min(self._shortest, length)
        self._longest = max(self._longest, length)
        self._bins[find_bin(length)] += 1
        language = (row.model_extra or {}).get("language")
        if isinstance(language, str) and (language in self._languages or len(self._languages) < 100):
            self._languages[language] += 1
        if len(self._laws) < MOST_NAMES:
            self._laws.update(row.law_names())
        self._turns += len(texts)
        self._waiting += texts
        self._waiting_characters += length
        if self._waiting_characters >= BUFFER:
            self._count_scripts()

    def _count_scripts(self) -> None:
        self._scripts.update(count_scripts("".join(self._waiting)))
        self._waiting, self._waiting_characters = [], 0

    def summarise(self) -> dict[str, Any]:
        """JSON: `bins` lists [lowest length, first length above, rows]; quantiles are upper edges of their bin."""
        self._count_scripts()
        letters = sum(self._scripts.values())
        return {
            "rows": self._rows,
            "characters": self._characters,
            "texts": self._turns,
            "length": {
                "unit": "characters",
                "lowest": 0 if math.isinf(self._shortest) else int(self._shortest),
                "highest": self._longest,
                "mean": self._characters / self._rows if self._rows else 0,
                "median": self._find_quantile(0.5),
                "p95": self._find_quantile(0.95),
                "bins": [[*bounds_of(number), self._bins[number]] for number in sorted(self._bins)],
            },
            "scripts": {name: count / letters for name, count in self._scripts.most_common() if count},
            "languages": dict(self._languages.most_common()),
            "laws": len(self._laws),
            "laws_at_least": len(self._laws) >= MOST_NAMES,
        }

    def _find_quantile(self, share: float) -> int:
        seen = 0
        for number in sorted(self._bins):
            seen += self._bins[number]
            if seen >= share * self._rows:
                return min(bounds_of(number)[1] - 1, self._longest)
        return 0


def find_bin(length: int) -> int:
    """Number of the bin of a length: 0 for empty, then STEPS bins per doubling."""
    if length < 1:
        return 0
    number = 1 + math.floor(STEPS * math.log2(length))
    # The logarithm of an edge may fall to either side of it.
    if length >= bounds_of(number)[1]:
        return number + 1
    return number - 1 if length < bounds_of(number)[0] else number


def bounds_of(number: int) -> tuple[int, int]:
    """Lowest length of a bin and the first above it."""
    if number == 0:
        return 0, 1
    return math.ceil(2 ** ((number - 1) / STEPS)), math.ceil(2 ** (number / STEPS))


def count_scripts(text: str) -> Counter[str]:
    """Letters of each script, others as `Other`."""
    # Loaded only here: a process that imports nothing does without it.
    import numpy

    codes = numpy.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    counts: Counter[str] = Counter()
    known = 0
    for (low, high), name in EDGES:
        found = int(numpy.count_nonzero((codes >= low) & (codes <= high)))
        counts[name] += found
        known += found
    counts["Other"] = int(numpy.count_nonzero(codes >= 0x250)) - sum(
        int(numpy.count_nonzero((codes >= max(low, 0x250)) & (codes <= high)))
        for (low, high), _ in EDGES
        if high >= 0x250
    )
    # General punctuation, currency signs, arrows and shapes are no letters of any script.
    counts["Other"] -= int(numpy.count_nonzero((codes >= 0x2000) & (codes <= 0x2BFF)))
    counts["Other"] -= int(numpy.count_nonzero((codes >= 0x3000) & (codes <= 0x303F)))
    counts["Other"] -= int(numpy.count_nonzero((codes >= 0xFE00) & (codes <= 0xFFFF)))
    counts["Other"] = max(counts["Other"], 0)
    return counts
