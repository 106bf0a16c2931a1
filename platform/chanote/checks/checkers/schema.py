"""Rows that no longer fit their kind, or whose text was damaged on its way."""

import hashlib
import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy

from chanote.checks.base import FINDING, SAMPLES, Check, Outcome, Part, register
from chanote.checks.block import Block
from chanote.checks.personal.finding import show_around
from chanote.datasets.canonical import check_row
from chanote.datasets.errors import RowError
from chanote.datasets.kinds import ROW_MODELS

# Thai and umlauts whose UTF-8 was read as Latin-1 or Windows-1252, and the mark of letters that were lost.
_DAMAGED = re.compile(
    "\ufffd|à¸[\u0080-\u00ff]|à¹[\u0080-\u00ff]|Ã[¤¶¼\u009f\u0178]|â€[™œ\u009c\u009d]|[\x00-\x08\x0b\x0c\x0e-\x1f]"
)
MOST_FIELDS = 100


@register
class Schema(Check):
    name = "schema"
    version = 1
    title = "Shape of rows"
    about = "Rows that do not fit their kind, repeat an id, take turns out of order, or hold damaged text."
    finds = {
        "unfit": "does not fit the kind of its dataset",
        "damaged": "holds characters that were damaged on the way",
        "turns": "has two turns of one speaker in a row, or none of the user",
        "id_repeated": "has the id of an earlier row",
    }

    def look(self, block: Block) -> Part:
        part = Part(rows=len(block.rows))
        ids = numpy.zeros((part.rows, 2), dtype=numpy.uint64)
        for number, row in enumerate(block.rows):
            for name in list(row)[:MOST_FIELDS]:
                part.counts[f"field_{name[:60]}"] += 1
            try:
                checked = check_row(ROW_MODELS[block.kind], row)
            except RowError as error:
                self._tell(part, number, "unfit", str(error))
                continue
            if row.get("id") not in (None, ""):
                digest = hashlib.blake2b(str(row["id"]).encode("utf-8", "surrogatepass"), digest_size=16).digest()
                ids[number] = numpy.frombuffer(digest, dtype=numpy.uint64)
            if match := next(filter(None, map(_DAMAGED.search, checked.texts())), None):
                shown = show_around(match.string, *match.span()) if part.wants_sample("damaged") else ""
                self._tell(part, number, "damaged", "".join(one if one.isprintable() else "�" for one in shown))
            if reason := find_odd_turns(row.get("messages")):
                self._tell(part, number, "turns", reason)
        part.arrays = {"ids": ids}
        return part

    def _tell(self, part: Part, number: int, code: str, text: str) -> None:
        part.counts[code] += 1
        part.found.append((number, self.codes[code], 0))
        part.add_sample(code, number, text[:160])

    def conclude(self, parts: Iterable[tuple[int, Part]], scratch: Path) -> Outcome:
        ids: list[Any] = []

        def keep_ids() -> Iterable[tuple[int, Part]]:
            for first, part in parts:
                ids.append(part.arrays["ids"])
                yield first, part

        outcome = super().conclude(keep_ids(), scratch)
        outcome.counts["fields"] = {
            name.removeprefix("field_"): outcome.counts.pop(name)
            for name in sorted(outcome.counts, key=lambda one: -outcome.counts[one])
            if name.startswith("field_")
        }
        self._find_repeated(outcome, numpy.concatenate(ids) if ids else numpy.empty((0, 2), dtype=numpy.uint64))
        return outcome

    def _find_repeated(self, outcome: Outcome, ids: Any) -> None:
        rows = numpy.flatnonzero(ids.any(axis=1))
        order = rows[numpy.lexsort((rows, ids[rows, 1], ids[rows, 0]))]
        if len(order) < 2:
            return
        same = (ids[order][1:] == ids[order][:-1]).all(axis=1)
        firsts = order[numpy.flatnonzero(numpy.concatenate(([True], ~same)))]
        leaders = firsts[numpy.cumsum(numpy.concatenate(([True], ~same))) - 1]
        repeated = numpy.empty(int(same.sum()), dtype=FINDING)
        repeated["row"], repeated["value"] = order[1:][same], leaders[1:][same] + 1
        repeated["code"] = self.codes["id_repeated"]
        if not len(repeated):
            return
        outcome.counts["id_repeated"] = len(repeated)
        repeated.sort(order="row")
        together = numpy.concatenate([*outcome.found, repeated])
        outcome.found = [together[numpy.argsort(together["row"], kind="stable")]]
        outcome.samples += [
            {"code": "id_repeated", "row": int(one["row"]), "text": f"has the id of row {int(one['value']):,}"}
            for one in repeated[:SAMPLES]
        ]


def find_odd_turns(messages: Any) -> str:
    """Why the turns of a conversation are odd; empty when they are not."""
    if not isinstance(messages, list):
        return ""
    roles = [message.get("role") for message in messages]
    if "user" not in roles:
        return "no turn of the user"
    for place, (one, next_one) in enumerate(pairwise(roles), 2):
        if one == next_one and one in ("user", "assistant"):
            return f"turn {place} is again of the {one}"
    return ""
