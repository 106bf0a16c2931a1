"""Long texts in parts, cut where a reader would pause."""

import re

PAUSES = (re.compile(r"\n\s*\n"), re.compile(r"\n"), re.compile(r"(?<=[.!?。])\s"), re.compile(r"\s"))
"""Places to cut at, the best first. Thai has spaces between clauses, which is where its readers pause."""


def cut_text(text: str, longest: int) -> list[str]:
    """Parts of at most `longest` characters; nothing but white space at the cuts is lost."""
    parts, rest = [], text.strip()
    while len(rest) > longest:
        end, after = _find_cut(rest, longest)
        parts.append(rest[:end].rstrip())
        rest = rest[after:].lstrip()
    return [*parts, rest] if rest else parts


def _find_cut(text: str, longest: int) -> tuple[int, int]:
    """Where a part ends and where the next begins. The first half of a part is too early for a cut."""
    for pause in PAUSES:
        ends = [(found.start(), found.end()) for found in pause.finditer(text, longest // 2, longest + 1)]
        if ends and ends[-1][0] <= longest:
            return ends[-1]
    return longest, longest
