"""Personal data: numbers with their check digits, addresses, names by list."""

from pydantic import Field, field_validator

from chanote.checks.base import Check, Part, Settings, iterate_strings, register
from chanote.checks.block import Block
from chanote.checks.personal.finding import find_personal, mask_text
from chanote.checks.personal.patterns import KINDS, Hit

AROUND = 40
"""Letters shown on either side of what was masked."""


class PersonalSettings(Settings):
    kinds: tuple[str, ...] = tuple(KINDS)
    """Which kinds are looked for."""
    names: tuple[str, ...] = Field(default=(), max_length=10_000)
    """Further given names, one to a line."""

    @field_validator("kinds")
    @classmethod
    def _check_kinds(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        for kind in kinds:
            if kind not in KINDS:
                raise ValueError(f"{kind!r} is no kind of personal data; use {', '.join(KINDS)}")
        return kinds


@register
class Personal(Check):
    name = "personal"
    version = 1
    title = "Personal data"
    about = "Identity numbers, accounts and cards with their check digits, telephone numbers, addresses, names by list."
    finds = KINDS
    settings_class = PersonalSettings
    settings: PersonalSettings

    def look(self, block: Block) -> Part:
        part = Part(rows=len(block.rows))
        names = frozenset(self.settings.names)
        for number, row in enumerate(block.rows):
            held: dict[str, int] = {}
            for text in iterate_strings(row):
                hits = find_personal(text, self.settings.kinds, names)
                for hit in hits:
                    held[hit.kind] = held.get(hit.kind, 0) + 1
                    part.add_sample(hit.kind, number, show_masked(text, hits, hit))
            for kind, often in held.items():
                part.counts[kind] += often
                part.counts[f"rows_{kind}"] += 1
                part.found.append((number, self.codes[kind], often))
        return part


def show_masked(text: str, hits: list[Hit], hit: Hit) -> str:
    """What stands around a hit, with every hit in it masked."""
    start, stop = max(hit.start - AROUND, 0), hit.stop + AROUND
    # A hit that reaches into the cut is masked whole: half a number is told neither.
    near = [one for one in hits if one.stop > start and one.start < stop]
    start, stop = min(start, near[0].start), min(max(stop, near[-1].stop), len(text))
    shifted = [Hit(one.kind, one.start - start, one.stop - start) for one in near]
    shown = " ".join(mask_text(text[start:stop], shifted).split())
    return f"{'…' if start else ''}{shown}{'…' if stop < len(text) else ''}"
