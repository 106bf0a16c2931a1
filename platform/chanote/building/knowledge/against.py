"""What a corpus is held against: evaluation sets, indexed once, and the report of what was found."""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from chanote.accounts.models import Project
from chanote.building.funnel import Item
from chanote.building.knowledge.items import Evaluated, find_sets, fold, gather, list_asked, read_items
from chanote.building.knowledge.overlap import Hit, OverlapIndex, write_index
from chanote.datasets.selectors import find_version

AT_ONCE = 256
"""Texts that are looked through together."""
SHOWN = 5
HITS = "hits.jsonl"
"""What every text that was read holds of items."""


class Against:
    """What the corpus is held against, indexed once in the directory of the build."""

    def __init__(self, project: Project, directory: Path, *, named: list[str], every_task: bool, keep_out: str) -> None:
        self.directory, self.keep_out = directory, keep_out
        frozen = directory / "against.json"
        if frozen.exists():  # tasks that came later do not change what a resumed build keeps out
            names = json.loads(frozen.read_text())
            self.versions = [find_version(project, name) for name in names]
        else:
            self.versions = find_sets(project, named, every_task=every_task)
            partial = frozen.with_suffix(".partial")
            partial.write_text(json.dumps([version.reference for version in self.versions]))
            partial.replace(frozen)
        self.evaluated: Evaluated = gather(self.versions)
        self.index: OverlapIndex = write_index(
            (
                (asked for number, row in read_items(version, one.items.start) for asked in list_asked(number, row))
                for version, one in zip(self.versions, self.evaluated.sets, strict=True)
            ),
            directory / "index",
        )

    def find(self, items: list[Item]) -> list[list[Hit]]:
        """For each text what it holds of items: their question, their answer, their source."""
        texts = self.index.find([item["row"]["text"] for item in items])
        found = []
        for item, hits in zip(items, texts, strict=True):
            section = fold(item["law"]), fold(item["section"])
            cited = self.evaluated.cited.get(section, []) if item["law"] and item["section"] else []
            every = hits | {Hit("source", number) for number in cited}
            found.append(sorted(every, key=lambda hit: (hit.part, hit.item)))
        return found

    def name(self, item: int) -> str:
        """An item as people find it: `law-mc@1#12`, rows counted from 1."""
        for one in self.evaluated.sets:
            if item in one.items:
                return f"{one.reference}#{item - one.items.start + 1}"
        raise IndexError(item)

    def report(self, left_over: Iterator[Item]) -> dict[str, Any]:
        """Question overlap and source overlap apart: of the text that was read, and of what is left over of it."""
        before = Counter[tuple[str, str]]()
        items: dict[tuple[str, str], set[int]] = {}
        samples: list[dict[str, Any]] = []
        with (self.directory / HITS).open() as lines:
            for line in lines:
                told = json.loads(line)
                for part, item in told["hits"]:
                    name = self.name(item).partition("#")[0]
                    before[name, part] += 1
                    items.setdefault((name, part), set()).add(item)
                    if sum(sample["part"] == part for sample in samples) < SHOWN:
                        samples.append({"row": told["row"], "part": part, "item": self.name(item)})
        left = Counter[tuple[str, str]]()
        while block := list(islice(left_over, AT_ONCE)):
            for hits in self.find(block):
                left.update({(self.name(hit.item).partition("#")[0], hit.part) for hit in hits})
        return {
            "measure": "13 words or 50 letters in a row, after NFC, digits folded, invisible characters left out",
            "kept_out": self.keep_out,
            "sets": [
                {
                    "set": one.reference,
                    "items": len(one.items),
                    **{
                        f"{part}_overlap": {
                            "pairs_before": before[one.reference, part],
                            "items_before": len(items.get((one.reference, part), ())),
                            "texts_after": left[one.reference, part],
                        }
                        for part in ("question", "answer", "source")
                    },
                }
                for one in self.evaluated.sets
            ],
            "samples": samples,
        }
