"""The script and language of every row, and where two scripts mix."""

from collections.abc import Iterable
from pathlib import Path

from pydantic import Field

from chanote.checks.base import Check, Outcome, Part, Settings, register
from chanote.checks.block import Block
from chanote.checks.language import GROUPS, LANGUAGES
from chanote.checks.personal.finding import show_around

SCRIPT_NAMES = ("Thai", "Latin", "CJK")


class LanguageSettings(Settings):
    mixed: float = Field(default=0.2, gt=0, le=0.5)
    """Share of letters in a second script from which a row counts as switching between two."""


@register
class Languages(Check):
    name = "languages"
    version = 1
    title = "Language and script"
    about = "The share of Thai, Latin, CJK and other letters and the language of every row, and rows that switch."
    finds = {
        **{tag: f"is written in {tag}" for tag in LANGUAGES},
        "mixed": "switches between two scripts",
        "unexpected": "is in another language than it or its dataset says",
        "wordless": "holds no letters",
    }
    facts = frozenset({*LANGUAGES, "mixed"})
    needs = frozenset({"languages"})
    settings_class = LanguageSettings
    settings: LanguageSettings

    def look(self, block: Block) -> Part:
        part = Part(rows=len(block.rows))
        for number, shares in enumerate(block.shares):
            if not shares.letters:
                self._tell(part, number, "wordless", 0, block)
                continue
            for script, count in shares.by_script.items():
                group = GROUPS.get(script, "Other")
                part.counts[f"letters_{group}"] += count
            ranked = shares.ranked
            part.counts[f"rows_{shares.language}"] += 1
            # Per thousand of the row's letters, in its main script.
            part.found.append((number, self.codes[shares.language], round(1000 * ranked[0][1])))
            if len(ranked) > 1 and ranked[1][1] >= self.settings.mixed:
                self._tell(part, number, "mixed", round(1000 * ranked[1][1]), block)
            if shares.language != "und" and shares.language not in self._expected(block.rows[number], shares.language):
                self._tell(part, number, "unexpected", 0, block, language=shares.language)
        return part

    def _expected(self, row: dict[str, object], language: str) -> set[str]:
        own = row.get("language")
        tags = [own] if isinstance(own, str) and own else self.against["languages"]
        return {tag.split("-")[0].lower() for tag in tags} or {language}

    def _tell(self, part: Part, number: int, code: str, value: int, block: Block, **more: str) -> None:
        part.counts[code] += 1
        part.found.append((number, self.codes[code], value))
        if part.wants_sample(code):
            part.add_sample(code, number, show_around(block.texts[number], 0, 120), **more)

    def conclude(self, parts: Iterable[tuple[int, Part]], scratch: Path) -> Outcome:
        outcome = super().conclude(parts, scratch)
        letters = {name: outcome.counts.pop(f"letters_{name}", 0) for name in (*SCRIPT_NAMES, "Other")}
        whole = sum(letters.values()) or 1
        outcome.counts["shares"] = {name: count / whole for name, count in letters.items()}
        outcome.counts["languages"] = dict(
            sorted(
                ((tag, outcome.counts.pop(f"rows_{tag}")) for tag in LANGUAGES if f"rows_{tag}" in outcome.counts),
                key=lambda pair: -pair[1],
            )
        )
        return outcome
