"""Personal data: numbers with their check digits, addresses, names by list."""

from pydantic import Field, field_validator

from chanote.checks.base import Check, Part, Settings, iterate_strings, register
from chanote.checks.block import Block
from chanote.checks.personal.finding import find_personal, show_around
from chanote.checks.personal.patterns import KINDS


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
                    if part.wants_sample(hit.kind):
                        part.add_sample(hit.kind, number, show_around(text, hit.start, hit.stop, hits))
            for kind, often in held.items():
                part.counts[kind] += often
                part.counts[f"rows_{kind}"] += 1
                part.found.append((number, self.codes[kind], often))
        return part
