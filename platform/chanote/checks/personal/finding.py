"""Find personal data in a text, and mask it."""

from collections.abc import Iterable, Sequence
from typing import Any

from chanote.checks.folding import fold_for_patterns
from chanote.checks.personal.names import find_names
from chanote.checks.personal.patterns import IN_DENSE, KINDS, NEAR_WORDS, Hit, find_dense, find_emails, lower

PRECEDENCE = {kind: place for place, kind in enumerate(KINDS)}
AROUND = 40
"""Letters shown on either side of a place."""
MARKS = ("⟦", "⟧")
"""What stands around the kind where personal data was masked."""


def find_personal(text: str, kinds: Iterable[str] = tuple(KINDS), names: frozenset[str] = frozenset()) -> list[Hit]:
    """Places in the text, none overlapping another, in order. `names` are further given names."""
    folded, places = fold_for_patterns(text)
    wanted = frozenset(kinds)
    lowered = lower(folded)
    hits = [Hit(kind, *place) for kind, find in NEAR_WORDS if kind in wanted for place in find(folded, lowered)]
    if "email" in wanted:
        hits += [Hit("email", *place) for place in find_emails(folded)]
    for start, stop in find_dense(folded):
        stretch = folded[start:stop]
        for kind, find in IN_DENSE.items():
            if kind in wanted:
                hits += [Hit(kind, start + first, start + last) for first, last in find(stretch)]
    if "name" in wanted:
        hits += [Hit("name", *place) for place in find_names(folded, names)]
    if not hits:
        return []
    hits = _keep_strictest(hits)
    if places is None:
        return hits
    # To the end of the last character, not to the beginning of the next: what is invisible between belongs to neither.
    return [Hit(hit.kind, int(places[hit.start]), int(places[hit.stop - 1]) + 1) for hit in hits]


def _keep_strictest(hits: Sequence[Hit]) -> list[Hit]:
    """Of hits that overlap one: of the kind that comes first, then the longest. A loser that sticks out keeps the
    rest of its place, so that nothing that was found is left unmasked."""
    kept: list[Hit] = []
    for hit in sorted(set(hits), key=lambda one: (one.start, PRECEDENCE[one.kind], -one.stop)):
        last = kept[-1] if kept else None
        if last is None or hit.start >= last.stop:
            kept.append(hit)
            continue
        kind = min(last.kind, hit.kind, key=PRECEDENCE.__getitem__)
        kept[-1] = Hit(kind, last.start, max(last.stop, hit.stop))
    return kept


def mask_text(text: str, hits: Iterable[Hit]) -> str:
    """The text with the kind in place of each hit."""
    parts, place = [], 0
    for hit in hits:
        parts += [text[place : hit.start], f"{MARKS[0]}{KINDS[hit.kind]}{MARKS[1]}"]
        place = hit.stop
    return "".join([*parts, text[place:]])


def show_around(text: str, start: int, stop: int, hits: Sequence[Hit] | None = None) -> str:
    """What stands around a place, with everything personal in it masked, on one line."""
    hits = find_personal(text) if hits is None else hits
    first, last = max(start - AROUND, 0), min(stop + AROUND, len(text))
    # A hit that reaches over the edge is masked whole: half a number is told neither.
    near = [hit for hit in hits if hit.stop > first and hit.start < last]
    if near:
        first, last = min(first, near[0].start), max(last, near[-1].stop)
    shown = mask_text(text[first:last], [Hit(hit.kind, hit.start - first, hit.stop - first) for hit in near])
    return f"{'…' if first else ''}{' '.join(shown.split())}{'…' if last < len(text) else ''}"


def mask_value(value: Any, kinds: Sequence[str] = tuple(KINDS), names: frozenset[str] = frozenset()) -> Any:
    """A row, or anything in one, with every text masked; numbers long enough to be somebody's become text if they are.

    What holds nothing personal comes back as it is.
    """
    if isinstance(value, str):
        hits = find_personal(value, kinds, names)
        return mask_text(value, hits) if hits else value
    if isinstance(value, dict):
        return {name: mask_value(inner, kinds, names) for name, inner in value.items()}
    if isinstance(value, list):
        return [mask_value(inner, kinds, names) for inner in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**7:
        hits = find_personal(str(value), kinds, names)
        return mask_text(str(value), hits) if hits else value
    return value
