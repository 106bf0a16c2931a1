"""Rows that hold what an evaluation task asks (contamination), and rows that hold the law its items rest on."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy

from chanote.checks.base import Check, Outcome, Part, add_samples, list_findings, register
from chanote.checks.block import Block
from chanote.checks.folding import fold_for_comparing
from chanote.checks.grams import Letters
from chanote.checks.personal.finding import show_around
from chanote.checks.task_index import PARTS, open_index


@register
class Overlap(Check):
    name = "overlap"
    version = 1
    title = "Overlap with tasks"
    about = (
        "Rows that share 13 words or 50 letters in a row with a question or answer of an evaluation task, and apart "
        "from them rows that hold the law or passage an item rests on."
    )
    finds = {
        "question": "holds the question of an item",
        "answer": "holds the answer of an item",
        "source": "holds the law or passage that an item rests on",
    }
    facts = frozenset({"source"})
    needs = frozenset({"tasks"})

    def look(self, block: Block) -> Part:
        part = Part(rows=len(block.rows))
        if self.folder is None or not self.against["items"]:
            return part
        index = open_index(self.folder)
        held: set[tuple[int, int, int]] = set()
        seen = []
        for piece in Letters(block.folded).pieces(max(index.longest - 1, 0)):
            rows, runs = index.find(piece)
            owners = index.runs[runs]
            held |= set(zip(rows.tolist(), owners["part"].tolist(), owners["item"].tolist(), strict=True))
            seen.append(runs)
        held |= set(self._find_cited(block))
        part.found = sorted(held)
        for code in PARTS:
            part.counts[code] = len({row for row, place, _ in held if PARTS[place] == code})
        part.arrays = {"runs": numpy.unique(numpy.concatenate(seen)) if seen else numpy.empty(0, dtype=numpy.int64)}
        for row, place, item in part.found:
            if part.wants_sample(PARTS[place]):
                part.add_sample(PARTS[place], row, show_around(block.texts[row], 0, 120), item=item)
        return part

    def _find_cited(self, block: Block) -> Iterable[tuple[int, int, int]]:
        """Rows that are a cited section by their law's name and number, whatever their wording."""
        cited = self.against["cited"]
        if not cited:
            return
        for number, row in enumerate(block.rows):
            if row.get("law_name") and row.get("section_num"):
                for item in cited.get(cite(row["law_name"], row["section_num"]), ()):
                    yield number, PARTS.index("source"), item

    def conclude(self, parts: Iterable[tuple[int, Part]], scratch: Path) -> Outcome:
        outcome = Outcome()
        counts: Counter[str] = Counter()
        first_row: dict[tuple[int, int], int] = {}
        seen = numpy.zeros(self.against["runs"], dtype=bool)
        for first, part in parts:
            counts.update(part.counts)
            add_samples(outcome.samples, part, first)
            for row, place, item in part.found:
                first_row.setdefault((item, place), row + first + 1)
            if part.found:
                outcome.found.append(list_findings(part.found, first))
            if "runs" in part.arrays:
                seen[part.arrays["runs"]] = True
        outcome.counts = {f"rows_{code}": counts[code] for code in PARTS}
        outcome.detail = self._describe(seen, first_row)
        dirty = [task for task in outcome.detail["tasks"] if task["dirty"]]
        outcome.counts |= {
            "tasks": len(outcome.detail["tasks"]),
            "tasks_touched": len(dirty),
            "items": sum(task["items"] for task in outcome.detail["tasks"]),
            "items_dirty": sum(task["dirty"] for task in outcome.detail["tasks"]),
            "items_source": sum(task["source"] for task in outcome.detail["tasks"]),
            "items_unknown": sum(task["unknown"] for task in outcome.detail["tasks"]),
        }
        for sample in outcome.samples:
            sample["item"] = self.against["items"][sample["item"]]["name"]
        return outcome

    def _describe(self, seen: Any, first_row: dict[tuple[int, int], int]) -> dict[str, Any]:
        """Of every item the share of its runs that the version holds, and the first row that holds one."""
        shares: dict[tuple[int, int], float] = {}
        if self.folder is not None and len(seen):
            runs = open_index(self.folder).runs
            owner = runs["item"].astype(numpy.int64) * len(PARTS) + runs["part"]
            whole = numpy.bincount(owner)
            held = numpy.bincount(owner[seen], minlength=len(whole))
            for place in numpy.flatnonzero(held).tolist():
                shares[place // len(PARTS), place % len(PARTS)] = held[place] / whole[place]
        tasks = []
        for task in self.against["tasks"]:
            items = [
                self._describe_item(number, name, shares, first_row)
                for number, name in zip(task["numbers"], task["names"], strict=True)
            ]
            dirty = sum(bool(item["question"] or item["answer"]) for item in items)
            tasks.append(
                {
                    "task": task["reference"],
                    "sha256": task["sha256"],
                    "items": len(items),
                    "dirty": dirty,
                    "source": sum(bool(item["source"]) for item in items),
                    "unknown": sum(not item["told"] for item in items),
                    # Only what is worth a word; every other item is clean.
                    "found": [item for item in items if item["question"] or item["answer"] or item["source"]],
                    "untold": [item["item"] for item in items if not item["told"]],
                }
            )
        return {"tasks": tasks, "left_out": self.against["left_out"]}

    def _describe_item(
        self, number: int, name: str, shares: dict[tuple[int, int], float], first_row: dict[tuple[int, int], int]
    ) -> dict[str, Any]:
        described: dict[str, Any] = {"item": name, "told": self.against["items"][number]["told"]}
        for place, code in enumerate(PARTS):
            row = first_row.get((number, place))
            # A section named by its number counts as held even where its wording is not known.
            described[code] = round(shares.get((number, place), 0.0), 4) or (0.0001 if row else 0)
            if row:
                described[f"{code}_row"] = row
        return described


def cite(law: Any, section: Any) -> str:
    """One spelling of a section of a law."""
    return "§".join(fold_for_comparing(str(part)).tobytes().hex() for part in (law, section))
