"""Length of rows, and how many tokens the tokenizers of the project's models need for each language."""

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import Field

from chanote.checks.base import Check, Outcome, Part, Settings, register
from chanote.checks.block import Block
from chanote.datasets.statistics import bounds_of, find_bin

LONGEST_TEXT = 20_000
"""Characters of a row that are cut into tokens; fertility is a ratio, and a huge row would outweigh all others."""


class LengthSettings(Settings):
    shortest: int = Field(default=5, ge=0)
    """Characters below which a row counts as short."""
    longest: int = Field(default=40_000, gt=0)
    """Characters above which a row counts as long."""
    share: float = Field(default=0.25, gt=0, le=1)
    """Share of rows that are cut into tokens, chosen by their content; the figures are ratios and need no more."""


@register
class Lengths(Check):
    name = "lengths"
    version = 1
    title = "Length and tokens"
    about = "How long rows are in each language, and how many tokens the project's tokenizers make of them (fertility)."
    finds = {"short": "is shorter than a row should be", "long": "is longer than a row should be"}
    needs = frozenset({"tokenizers"})
    settings_class = LengthSettings
    settings: LengthSettings

    def look(self, block: Block) -> Part:
        part = Part(rows=len(block.rows))
        chosen: list[int] = []
        for number, (text, shares) in enumerate(zip(block.texts, block.shares, strict=True)):
            language = shares.language or "und"
            part.counts[f"rows {language}"] += 1
            part.counts[f"characters {language}"] += len(text)
            part.counts[f"bin {language} {find_bin(len(text))}"] += 1
            code = (
                "short" if len(text) < self.settings.shortest else "long" if len(text) > self.settings.longest else ""
            )
            if code:
                part.counts[code] += 1
                part.found.append((number, self.codes[code], len(text)))
                part.add_sample(code, number, f"{len(text):,} characters")
            if int(block.marks[number] % 1000) < 1000 * self.settings.share:
                chosen.append(number)
        self._count_tokens(part, block, chosen)
        return part

    def _count_tokens(self, part: Part, block: Block, chosen: list[int]) -> None:
        texts = [block.texts[number][:LONGEST_TEXT] for number in chosen]
        tags = [block.shares[number].language or "und" for number in chosen]
        for text, tag in zip(texts, tags, strict=True):
            part.counts[f"cut {tag}"] += 1
            part.counts[f"cut_characters {tag}"] += len(text)
            part.counts[f"cut_bytes {tag}"] += len(text.encode("utf-8", "surrogatepass"))
        for place, one in enumerate(self.against["tokenizers"]):
            tokenizer = open_tokenizer(one["path"], one["sha256"])
            for tag, encoding in zip(tags, tokenizer.encode_batch(texts, add_special_tokens=False), strict=True):
                part.counts[f"tokens {tag} {place}"] += len(encoding.ids)

    def conclude(self, parts: Iterable[tuple[int, Part]], scratch: Path) -> Outcome:
        outcome = super().conclude(parts, scratch)
        counts: Counter[str] = Counter(outcome.counts)
        tags = sorted(
            (name.split()[1] for name in counts if name.startswith("rows ")), key=lambda tag: -counts[f"rows {tag}"]
        )
        outcome.counts = {code: counts[code] for code in self.finds}
        outcome.counts["languages"] = [self._describe(tag, counts) for tag in tags]
        outcome.counts["tokenizers"] = [one["names"] for one in self.against["tokenizers"]]
        outcome.counts["note"] = self.against["note"]
        return outcome

    def _describe(self, tag: str, counts: Counter[str]) -> dict[str, Any]:
        bins = {int(name.split()[2]): count for name, count in counts.items() if name.startswith(f"bin {tag} ")}
        rows, cut = counts[f"rows {tag}"], counts[f"cut_characters {tag}"]
        return {
            "language": tag,
            "rows": rows,
            "mean": counts[f"characters {tag}"] / rows,
            "median": find_quantile(bins, 0.5),
            "p95": find_quantile(bins, 0.95),
            "cut": counts[f"cut {tag}"],
            "fertility": [
                {
                    "tokens_per_character": counts[f"tokens {tag} {place}"] / cut,
                    "bytes_per_token": counts[f"cut_bytes {tag}"] / max(counts[f"tokens {tag} {place}"], 1),
                    "tokens_per_row": counts[f"tokens {tag} {place}"] / counts[f"cut {tag}"],
                }
                for place in range(len(self.against["tokenizers"]))
                if cut
            ],
        }


def find_quantile(bins: dict[int, int], share: float) -> int:
    """Upper edge of the bin in which the quantile lies."""
    rows, seen = sum(bins.values()), 0
    for number in sorted(bins):
        seen += bins[number]
        if seen >= share * rows:
            return bounds_of(number)[1] - 1
    return 0


@lru_cache(maxsize=8)
def open_tokenizer(path: str, sha256: str) -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(path)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
